"""Measurements on the machine at hand, and the selftests of the kernel."""
