"""Guests fitted to the logs of their migrations, and migrations of these guests that have not taken place."""

from __future__ import annotations
