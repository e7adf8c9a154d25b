"""Comparing scenarios: the cross product of values for some keys, run with common random numbers, held against the first.

``axes`` and ``plan`` say what is run, ``runner`` and ``workers`` run it, ``summary`` and ``best`` say what came of it.
"""
