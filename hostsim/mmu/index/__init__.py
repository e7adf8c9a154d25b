"""How the sptes of a gfn are found: the arrays of every index, what an operation counts, and the protocol."""
