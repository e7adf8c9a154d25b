"""Costs of the memory of this machine, measured."""
