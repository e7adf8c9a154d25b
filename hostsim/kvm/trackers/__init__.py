"""Dirty trackers of KVM, one file an interface."""
