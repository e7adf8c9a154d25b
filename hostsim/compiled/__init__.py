"""Compilation of loops by numba, and every trick with it."""
