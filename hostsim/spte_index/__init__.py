"""Designs of an index that finds the sptes of a gfn: one file for each design, listed in designs.py."""
