"""Post-copy: the switch, the phase in which the guest runs at the destination, and the loops of its events.

# Model limit: without [destination.memory] a guest under KVM pays no exits at the destination. Its page tables there start
# empty, and each page that it touches costs a fault that the phase does not count.
# Model limit: without [destination.memory] no thread ages the destination's memory, and no page of it is swapped out.
# Model limit: the thread that loads pages never waits for a core. On a machine with few cores a woken vCPU takes the core
# of the loader, or the loader runs out of pages while the sender waits for a core. Then a vCPU requests a page that is on
# its way; here it does not.
# Model limit: within a host page of 2 MiB the migration thread does not pause for the rate limit, and with 7.2's preempt
# channel a request does not interrupt it.
"""
