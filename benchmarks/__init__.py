"""Speed and memory of hostsim, run by hand: ratios and figures of one run on one machine."""
