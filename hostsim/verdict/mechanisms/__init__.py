"""A module a mechanism of migration: evidence, judges, lines, remedies (hostsim.verdict.mechanism)."""
