"""KVM under a VM: vCPUs that exit, ``mmu_lock``, and the dirty log of the one slot they share."""
