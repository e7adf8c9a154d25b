"""How far a measured dirty rate can be trusted: bias and spread of calc-dirty-rate, and the forecast made from it."""
