"""Studies that need no engine: closed forms of dirtying and pre-copy, the dirty curve, the predictor."""
