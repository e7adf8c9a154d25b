"""Policies of page ageing, behind one protocol."""
