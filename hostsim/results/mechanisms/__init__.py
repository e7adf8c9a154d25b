"""A module a mechanism of migration: figures of query-migrate, columns, facts (hostsim.results.mechanism)."""
