"""KVM as one VM sees it: sptes, mmu_lock, TLBs, mmu notifiers, exits."""
