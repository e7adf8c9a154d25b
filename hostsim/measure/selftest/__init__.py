"""Selftests of the kernel, on a simulated machine."""
