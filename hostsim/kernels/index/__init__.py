"""Loops over the indexes of sptes: one file a structure, every cache line counted as it is looked at."""
