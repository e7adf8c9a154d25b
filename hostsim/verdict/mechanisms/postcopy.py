"""Post-copy in verdicts: the phase, its outcomes, and the switch as a remedy (hostsim.verdict.postcopy)."""

from __future__ import annotations

from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.verdict import postcopy
from hostsim.verdict.mechanism import Mechanism, OwnOutcome

PART = Mechanism(
    NAME, 50, postcopy.phase_of_run, postcopy.phase_of_log,
    outcomes=(OwnOutcome(postcopy.COMPLETED, "good", converged=True), OwnOutcome(postcopy.LOST, "bad")),
    under_way=(postcopy.last_answer,),
    ended=(postcopy.lost, postcopy.failed, postcopy.completed),
    running=(postcopy.under_way,),
    always_ends=postcopy.remedy,
    in_words="post-copy",
)  # fmt: skip
