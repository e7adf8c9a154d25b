"""A module a mechanism of migration: parameters, refusals, what it adds to the migration thread (hostsim.qemu.mechanism)."""
