"""Swap devices: queues with their service times."""
