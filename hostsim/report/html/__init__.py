"""Reports as one self-contained HTML file: sections of a page, charts, and the registry of kinds of results."""
