"""Suite ``kvm``: shadow pages that KVM recycles at its limit, and the faults that follow, as real KVM and the model count.

Nothing of these counts was used to set anything: the rule is the source's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.spte_index.recycling import RecyclingCounts, ShadowPages
from hostsim.validation.kvm_migrations import SUITE
from hostsim.validation.rows import Row, exact

ALIAS_PAGES = 1 << 27
"""Virtual pages of an entry of the root: the measured guest has each address of its memory under one of its own."""
CODE, MAILBOX = 0x10, 0x20
"""Virtual pages of the measured guest's instructions, and of the place where a command and its result stand."""
PASSES = 3


def recycling_rows() -> Iterator[Row]:
    """A row of each configuration: faults and recycled pages of each pass."""
    for config in recycling_configs():
        name = f"recycling/{config['mib']}-{config['addresses']}-{config['limit']}"
        expected = [(one["faults"], one["recycled"], one["allocated"], one["flushes"]) for one in config["passes"]]
        got = [(one.faults, one.recycled, one.allocated, one.flushes) for one in passes_of(config)]
        yield exact(SUITE, name, "faults, recycled, allocated, flushes of each pass", _in_words(expected), _in_words(got))


def recycling_configs() -> list[dict[str, Any]]:
    """Configurations that were measured: hostsim/data/kvm_real/recycling.json."""
    text = (files("hostsim") / "data" / "kvm_real" / "recycling.json").read_text(encoding="utf-8")
    configs: list[dict[str, Any]] = json.loads(text)["configs"]
    return configs


def passes_of(config: Mapping[str, Any]) -> list[RecyclingCounts]:
    """Counts of each pass of the measured guest, whose address space has its memory at several addresses."""
    vm, n_pages = ShadowPages(config["limit"]), config["mib"] * (1 << 20) // PAGE_BYTES
    vm.load(0)
    _command(vm)
    found = []
    for _ in range(PASSES):
        before = RecyclingCounts(*vm.counts.as_tuple())
        for address in range(1, config["addresses"] + 1):
            _command(vm)
            vm.sweep(0, address * ALIAS_PAGES, n_pages, (CODE,))
            _command(vm)
        found.append(vm.counts - before)
    return found


def _command(vm: ShadowPages) -> None:
    """The guest reads its mailbox, or writes it."""
    for page in (CODE, MAILBOX):
        vm.touch(0, page)


def _in_words(passes: Sequence[Sequence[int]]) -> str:
    return "; ".join(", ".join(map(str, one)) for one in passes)
