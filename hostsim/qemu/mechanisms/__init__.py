"""A module a mechanism of migration: parameters, refusals, its steps in the migration thread (hostsim.qemu.mechanism)."""
