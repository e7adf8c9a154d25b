"""Comparing scenarios: the cross product of values for some keys, run with common random numbers, compared with the first.

``axes`` and ``plan`` make the runs, ``runner`` and ``workers`` run them, ``summary`` and ``best`` compare their figures.
"""
