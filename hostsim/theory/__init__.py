"""Closed forms, and models that need no clock."""
