"""What ``import hostsim`` offers: the questions of the command line as functions, with results that a notebook shows."""
