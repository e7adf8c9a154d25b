"""Studies: questions answered by many simulations, or by running the data structures themselves."""
