"""Designs that find the sptes of a gfn: one file a design."""
