"""Answers about the QEMU behind a log: its version, its memory, and the parameters of its migrations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hostsim.logs.figures import sane
from hostsim.logs.model import Setup

KEYS = {"query-version": {"qemu", "package"}, "query-migrate-parameters": {"max-bandwidth", "downtime-limit"}}
"""Keys by which an answer is known that does not name its command, as virsh qemu-monitor-command prints it."""
PARTS = ("major", "minor", "micro")


def with_answer(setup: Setup, command: str, answer: Any) -> Setup:
    """``setup`` with the facts of ``answer`` to ``command``; a broken answer adds none."""
    return replace(setup, **ANSWERS[command](answer))


def command_of(record: Mapping[str, Any]) -> str:
    """The command of ANSWERS that ``record`` answers: by its name or, where an answer stands alone, by its form; else ""."""
    if "return" not in record:
        return ""
    named, answer = record.get("execute"), record["return"]
    if isinstance(named, str):
        return named if named in ANSWERS else ""
    if isinstance(answer, Mapping):
        return next((name for name, keys in KEYS.items() if keys <= answer.keys()), "")
    is_list = isinstance(answer, list) and all(isinstance(one, Mapping) and "capability" in one for one in answer)
    return "query-migrate-capabilities" if is_list and answer else ""


def _version(answer: Any) -> dict[str, Any]:
    qemu = answer.get("qemu") if isinstance(answer, Mapping) else None
    parts = [qemu.get(part) for part in PARTS] if isinstance(qemu, Mapping) else []
    return {"version": tuple(parts)} if parts and all(isinstance(part, int) for part in parts) else {}


def _name(answer: Any) -> dict[str, Any]:
    name = answer.get("name") if isinstance(answer, Mapping) else None
    return {"name": name} if isinstance(name, str) else {}


def _kvm(answer: Any) -> dict[str, Any]:
    enabled = answer.get("enabled") if isinstance(answer, Mapping) else None
    return {"kvm": enabled} if isinstance(enabled, bool) else {}


def _memory(answer: Any) -> dict[str, Any]:
    sizes = [sane(answer.get(key, 0)) for key in ("base-memory", "plugged-memory")] if isinstance(answer, Mapping) else []
    whole = sum(sizes)
    return {"memory_bytes": whole} if whole > 0 and not math.isnan(whole) else {}


def _vcpus(answer: Any) -> dict[str, Any]:
    return {"vcpus": len(answer)} if isinstance(answer, list) and answer else {}


def _parameters(answer: Any) -> dict[str, Any]:
    return {"parameters": dict(answer)} if isinstance(answer, Mapping) else {}


def _capabilities(answer: Any) -> dict[str, Any]:
    rows = [one for one in answer if isinstance(one, Mapping)] if isinstance(answer, list) else []
    told = {str(one.get("capability")): one["state"] for one in rows if isinstance(one.get("state"), bool)}
    return {"capabilities": told} if told else {}


def _nothing(answer: Any) -> dict[str, Any]:
    del answer
    return {}


ANSWERS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "query-version": _version, "query-name": _name, "query-kvm": _kvm, "query-memory-size-summary": _memory,
    "query-cpus-fast": _vcpus, "query-migrate-parameters": _parameters, "query-migrate-capabilities": _capabilities,
    "query-status": _nothing,
}  # fmt: skip
"""Commands whose answers are not about one migration. The statuses of query-status are those of a VM."""
