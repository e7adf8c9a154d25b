"""Costs of the machine hostsim runs on, measured in user space and written as a cost sheet."""
