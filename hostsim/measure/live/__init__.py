"""Watching the migrations of a QEMU that runs: its monitor is asked again and again, and nothing in the VM changes."""
