"""Facts that the kernel reports of this machine: its processor, its caches, its available memory."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class MachineFacts:
    """Facts about a machine.

    model: of the processor; is_guest: whether a hypervisor runs below.
    cache_bytes: data caches, nearest first, () if not reported.
    has_pml: None if unknown; available_bytes: of memory, None if not reported.
    """

    model: str
    is_guest: bool
    cache_bytes: tuple[int, ...]
    has_pml: bool | None
    available_bytes: int | None

    @property
    def title(self) -> str:
        """The processor, and whether it is a virtual machine's: page walks are longer there."""
        return f"{self.model}, in a virtual machine" if self.is_guest else self.model


def read_machine(root: Path = Path("/")) -> MachineFacts:
    """Facts from the files below ``root``; a fact without its file is None, empty or False."""
    info = dict(_fields(_text(root / "proc/cpuinfo")))
    model = " ".join(re.sub(r"[^\x20-\x7e]", " ", info.get("model name", "")).split())
    return MachineFacts(
        model=model or platform.machine() or "an unknown processor",
        is_guest="hypervisor" in info.get("flags", "").split(),
        cache_bytes=_cache_bytes(root / "sys/devices/system/cpu/cpu0/cache"),
        has_pml=_has_pml(info),
        available_bytes=_available_bytes(_text(root / "proc/meminfo")),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _fields(text: str) -> Iterator[tuple[str, str]]:
    """(key, value) of the first processor."""
    for line in text.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def _has_pml(info: dict[str, str]) -> bool | None:
    if "vmx flags" in info:
        return "pml" in info["vmx flags"].split()
    return None if info.get("vendor_id") == "GenuineIntel" else False


def _cache_bytes(folder: Path) -> tuple[int, ...]:
    sizes: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        level, kind, size = (_text(index / name).strip() for name in ("level", "type", "size"))
        match = re.fullmatch(r"(\d+)([KMG])", size)
        if kind in {"Data", "Unified"} and level.isdecimal() and match and int(match[1]):
            sizes[int(level)] = int(match[1]) * UNITS[match[2]]
    return tuple(sizes[level] for level in sorted(sizes))


def _available_bytes(meminfo: str) -> int | None:
    match = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(match[1]) << 10 if match else None
