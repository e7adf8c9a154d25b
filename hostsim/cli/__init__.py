"""The command ``hostsim``: each command is a thin wrapper around functions of the library."""
