"""The cost of page ageing to a guest: trials over policies, kernels and loads."""
