"""One module a kind of result: each makes the page of a report."""
