"""What page ageing costs a guest: trials over policies, kernels and loads."""
