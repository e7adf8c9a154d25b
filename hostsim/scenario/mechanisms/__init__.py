"""A module a mechanism of migration: keys of the scenario, checks, names elsewhere (hostsim.scenario.mechanism)."""
