"""dirty-limit in verdicts: a line on the vCPUs that it held back."""

from __future__ import annotations

from hostsim.qemu.mechanisms.dirty_limit import NAME
from hostsim.verdict.dirty_limit import with_dirty_limit
from hostsim.verdict.mechanism import Mechanism

PART = Mechanism(NAME, 30, line=with_dirty_limit)
