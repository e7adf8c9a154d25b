"""Guests: what touches memory, and when, in virtual time. No SimPy here."""
