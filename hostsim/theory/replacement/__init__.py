"""Page replacement on demand: reference policies that a published simulator agrees with."""
