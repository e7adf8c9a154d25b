"""The command ``hostsim``: each command a thin wrapper around what the library offers."""
