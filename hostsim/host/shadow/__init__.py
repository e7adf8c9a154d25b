"""Shadow paging: guest address spaces whose page tables KVM shadows, over any index of sptes."""
