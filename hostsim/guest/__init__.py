"""Guests: VM and vCPU threads, and the touch processes that say when a page is accessed next, in virtual time."""
