"""Memory of a host that may run short: frames, swap, reclaim, and the faults that wait for them."""
