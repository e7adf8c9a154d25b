"""Post-copy in verdicts: a guest that was lost after the switch, or whose pages are still under way."""

from __future__ import annotations

from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.verdict.ended import switched_to_postcopy
from hostsim.verdict.mechanism import Mechanism
from hostsim.verdict.postcopy import lost_in_postcopy

PART = Mechanism(NAME, 50, ended=(lost_in_postcopy,), running=(switched_to_postcopy,))
