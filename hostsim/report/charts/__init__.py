"""Charts, each said once: the picture of matplotlib and the chart of an HTML report are made of one description."""
