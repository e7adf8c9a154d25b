"""Compiled loops over the sptes and vCPUs of one VM."""
