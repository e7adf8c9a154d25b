"""Post-copy: the switch, the phase in which the guest runs at the destination, and the loops of its events."""
