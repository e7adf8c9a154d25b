"""Post-copy: the switch, the phase in which the guest runs at the destination, and the loops of its events.

# Model limit: without [destination.memory] a guest under KVM pays no exits at the destination: its page tables there start
# empty, and each page that it touches costs a fault that the phase does not count.
# Model limit: without [destination.memory] no thread ages the destination's memory, and no page of it is swapped out.
# Model limit: the thread that loads pages never waits for a core. Beside few cores a woken vCPU takes its core, or the
# loader runs dry while the sender waits for one; then a stall whose page is on its way asks for it, here it does not.
# Model limit: within a host page of 2 MiB the migration thread does not pause for the rate limit, and with 7.2's preempt
# channel a request does not interrupt it.
"""
