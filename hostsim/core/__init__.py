"""The clock, guest memory, units, errors, draws: used in every room."""
