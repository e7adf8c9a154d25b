"""The argument of July 2010 about the index of sptes, claim by claim, decided by running the structures."""
