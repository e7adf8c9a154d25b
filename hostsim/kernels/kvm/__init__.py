"""Guests under KVM: sptes, armed pages, touches, exits and mmu_lock, advanced in exact time order."""
