"""A calibration as text: the cost sheet that hostsim reads (TOML), and JSON-able data for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hostsim import __version__
from hostsim.measure.calibrate.calibration import Calibration
from hostsim.measure.calibrate.measure import KIB


def sheet_text(found: Calibration) -> str:
    """The cost sheet in TOML: the measured numbers, and the name of the sheet that lends the others."""
    return "\n".join([*_head(found), *_entries(found)])


def _head(found: Calibration) -> Iterator[str]:
    yield f"# Written by `hostsim calibrate`, hostsim {__version__}. Numbers that are not here are those of the sheet"
    why = "." if found.through_kvm else ": exits, mmu_lock, flushes and the dirty log are out of user space's sight."
    yield f"# '{found.base}' and count as assumed{why}"
    yield from (f"# {line}" for line in found.notes)
    yield "# A load's latency, ns, by the KiB that the loads are spread over:"
    points = zip(found.curve.footprint_bytes, found.curve.ns, strict=True)
    cells = [f"{size / KIB:.0f}: {ns:.4g}" for size, ns in points]
    for first in range(0, len(cells), 8):
        yield "#   " + ", ".join(cells[first : first + 8])
    yield ""
    yield f"machine = {_quoted(found.machine.title)}"
    yield f"pml = {'true' if found.pml else 'false'}"
    yield f"otherwise = {_quoted(found.base)}"
    yield ""


def _entries(found: Calibration) -> Iterator[str]:
    for number in found.numbers:
        yield f"[{number.name}]"
        yield f"value = {number.value:.12g}"
        yield f"source = {_quoted(number.source)}"
        yield ""


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(text)


def as_object(found: Calibration, file: str) -> dict[str, Any]:
    """``found`` as JSON has it, without numbers of the base sheet; ``file``: where the sheet was written."""
    return {
        "file": file,
        "machine": found.machine.title,
        "date": found.date,
        "base": found.base,
        "pml": found.pml,
        "numbers": [
            {"name": n.name, "value": n.value, "repetitions": n.repetitions, "spread": n.spread, "source": n.source}
            for n in found.numbers
        ],
        "not_told_apart": list(found.unseen),
        "noisy": list(found.noisy),
        "reported_cache_bytes": list(found.machine.cache_bytes),
        "through_kvm": list(found.through_kvm),
        "notes": list(found.notes),
        "curve": [
            {"footprint_bytes": int(size), "load_ns": float(ns)}
            for size, ns in zip(found.curve.footprint_bytes, found.curve.ns, strict=True)
        ],
    }
