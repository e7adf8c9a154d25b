"""Guests: VM and vCPU threads, and the touch processes that give the next access of a page, in virtual time."""
