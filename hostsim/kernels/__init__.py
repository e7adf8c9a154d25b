"""Compiled loops over the arrays of guest and mmu. One source: with the JIT off it is plain Python."""
