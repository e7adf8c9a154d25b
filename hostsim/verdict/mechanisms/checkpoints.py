"""Checkpoints in verdicts: a replica that follows the guest ends a migration in a way of its own."""

from __future__ import annotations

from hostsim.verdict.checkpoints import protected
from hostsim.verdict.mechanism import Mechanism

PART = Mechanism("checkpoints", 60, ended=(protected,))
