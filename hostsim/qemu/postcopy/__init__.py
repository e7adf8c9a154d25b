"""Post-copy: the switch, the phase in which the guest runs at the destination, and the loops of its events.

# Model limit: at the destination a guest under KVM pays no exits: its page tables there start empty, and each page that it
# touches costs a fault that the phase does not count.
# Model limit: ageing of the destination's memory does not begin before the run ends.
# Model limit: within a host page of 2 MiB the migration thread does not pause for the rate limit, and with 7.2's preempt
# channel a request does not interrupt it.
"""
