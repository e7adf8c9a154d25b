"""The table of ageing policies: name, maker for each use, and text for users.

A new policy is its own file and an entry of POLICIES; the values that scenarios and commands take, their help, their
errors and the tables of the documentation come from here. Loading this file loads no policy: ``--help`` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from hostsim.costs.era import load_era, unknown_name
from hostsim.plugins.registry import Plugin, find, installed

Use = Literal["ageing", "age", "memory", "reclaim"]
"""[ageing].policy, ``hostsim age --policy``, [host.memory].policy, [host.memory.reclaim].policy.

``hostsim reclaim --policy`` is the last one.
"""
USES: dict[Use, str] = {
    "ageing": "`[ageing]`", "age": "`hostsim age`", "memory": "`[host.memory]`",
    "reclaim": "`[host.memory.reclaim]`, `hostsim reclaim`",
}  # fmt: skip
PLUGGED: tuple[Use, ...] = ("ageing", "age")
"""Uses that policies of plug-ins serve."""
SAMPLES_A_PERIOD = 20
"""DAMON's aggregation interval over its sampling interval: 100 ms over 5 ms (mm/damon/sysfs.c, defaults)."""
GENERATIONS_AN_AGE = 2
"""MGLRU evicts no page of the two youngest generations (include/linux/mmzone.h::MIN_NR_GENS)."""


@dataclass(frozen=True)
class Maker:
    """Makes a policy: the class ``name`` of hostsim.memory.policies.``module``, with ``keys``.

    takes: those of "seed" and "cold_scans" that the class takes as well.
    """

    module: str
    name: str
    takes: tuple[str, ...] = ()
    keys: tuple[tuple[str, Any], ...] = ()

    def __call__(self, n_pages: int, seed: int = 1, cold_scans: int = 1) -> Any:
        """The policy, with no pages yet. seed: of its draws; cold_scans: scans after which an idle page is cold."""
        offered = {"seed": seed, "cold_scans": cold_scans}
        made = getattr(import_module(f"hostsim.memory.policies.{self.module}"), self.name)
        return made(n_pages, **{key: offered[key] for key in self.takes}, **dict(self.keys))


@dataclass(frozen=True)
class PluggedMaker:
    """Makes the policy of a plug-in, as ``Maker`` does those of hostsim."""

    plugin: Plugin

    def __call__(self, n_pages: int, seed: int = 1, cold_scans: int = 1) -> Any:
        """The policy, with no pages yet; see ``Maker``."""
        del cold_scans
        return import_module("hostsim.memory.policies.plugged").PluggedPolicy(self.plugin, n_pages, seed)


@dataclass(frozen=True)
class Passes:
    """A daemon's use of a policy: its maker, ``samples`` steps a period, clear_flush_young if it ``flushes``."""

    make: Maker | PluggedMaker
    samples: int = 1
    flushes: bool = False


@dataclass(frozen=True)
class PagingOut:
    """Proactive reclaim's use of a policy: its maker, and clear_flush_young if it ``flushes``.

    period_ns: maps (idle age at which a page is paged out, time from scan to scan) to the time from step to step [ns].
    """

    make: Maker
    period_ns: Callable[[int, int], int]
    flushes: bool = True


@dataclass(frozen=True)
class Policy:
    """One entry of the registry; a use that the policy does not serve is None.

    help: one sentence for users.
    scans: a daemon of [ageing] tests "all" memory or the "resident" pages, without a policy object; "": it uses ``passes``.
    passes: a daemon's use of the policy.
    evicts: makes the policy that chooses pages to evict when memory is short.
    pages_out: proactive reclaim's use of the policy.
    of_era: maps an era to the name of the policy that its kernels have under this name; such an entry makes no policy.
    misses: why the policy takes pages in use for idle.
    holds: why the policy takes idle pages for used.
    new_in_use: a new page counts as used before any pass has tested it.
    """

    help: str
    scans: Literal["", "all", "resident"] = ""
    passes: Passes | None = None
    evicts: Maker | None = None
    pages_out: PagingOut | None = None
    of_era: Callable[[str], str] | None = None
    misses: str = ""
    holds: str = ""
    new_in_use: bool = False

    def serves(self, use: Use) -> bool:
        """Whether the policy serves ``use``."""
        found: dict[Use, object] = {
            "ageing": self.scans or self.passes, "age": self.passes, "memory": self.evicts, "reclaim": self.pages_out,
        }  # fmt: skip
        return bool(found[use]) or (self.of_era is not None)


def _mglru_of(era: str) -> str:
    return "mglru-walk" if load_era(era).mglru_walk else "mglru-no-walk"


def _each_scan(age_ns: int, scan_ns: int) -> int:
    del age_ns
    return scan_ns


def _each_generation(age_ns: int, scan_ns: int) -> int:
    del scan_ns
    return max(1, age_ns // GENERATIONS_AN_AGE)


def _each_sample(age_ns: int, scan_ns: int) -> int:
    """A scan is an aggregation."""
    del age_ns
    return max(1, scan_ns // SAMPLES_A_PERIOD)


def _generations(name: str, *, walks: bool) -> Maker:
    return Maker("generations", name, keys=(("walks", walks),))


POLICIES: dict[str, Policy] = {
    "scan": Policy("asks about all memory, `call_pages` a call of the notifier", scans="all"),
    "idle": Policy(
        "idle-page tracking: asks about every page that the host has, one a call",
        scans="resident",
        passes=Passes(Maker("idle", "IdlePages", ("cold_scans",))),
        pages_out=PagingOut(Maker("idle", "ColdIdlePages", ("cold_scans",)), _each_scan),
    ),
    "two-list": Policy(
        "active and inactive list, page by page; a young page's TLB entries are flushed before era `E5`",
        # mm/rmap.c::folio_referenced_one flushes; walks of MGLRU, idle-page tracking and DAMON do not.
        passes=Passes(Maker("two_list", "TwoListScan"), flushes=True),
        evicts=Maker("two_list", "TwoList"),
        holds="a page of the active list counts as used until it is asked for",
    ),
    "two-list-before-5.9": Policy(
        "the two lists without the second chance of 5.9: new pages are active",
        evicts=Maker("two_list", "TwoList", keys=(("second_chance", False),)),
    ),
    "mglru": Policy("MGLRU as kernels of the era have it: `mglru-walk` from era `E5` on, else `mglru-no-walk`",
                    of_era=_mglru_of),
    "mglru-walk": Policy(
        "MGLRU whose walk of page tables asks secondary MMUs, as since 6.13",
        passes=Passes(_generations("Generations", walks=True)),
        evicts=_generations("Generations", walks=True),
        pages_out=PagingOut(_generations("ColdGenerations", walks=True), _each_generation),
    ),
    "mglru-no-walk": Policy(
        "MGLRU whose walk does not: guests are seen only where a page is about to be evicted",
        passes=Passes(_generations("Generations", walks=False)),
        evicts=_generations("Generations", walks=False),
        pages_out=PagingOut(_generations("ColdGenerations", walks=False), _each_generation),
        misses="before Linux 6.13 (era E5) the walk of MGLRU does not ask KVM",
        holds="a new page counts as used, and none is asked for",
        new_in_use=True,
    ),
    "damon": Policy(
        "DAMON: 20 samples a period, each about one page of each of 10 to 1000 regions, which are split and merged",
        passes=Passes(Maker("damon", "Damon", ("seed",)), samples=SAMPLES_A_PERIOD),
        pages_out=PagingOut(Maker("damon", "ColdDamon", ("seed", "cold_scans")), _each_sample, flushes=False),
        misses="a region counts as idle when the one page sampled for all was not accessed between two samples",
        holds="a region counts as used as a whole when the page sampled for it was",
    ),
}  # fmt: skip
"""Policies by name, in the order of the lists that users read."""


def policy_names(use: Use) -> tuple[str, ...]:
    """Names of the policies that come with hostsim and that ``use`` can have."""
    return tuple(name for name, policy in POLICIES.items() if policy.serves(use))


def all_names(use: Use) -> tuple[str, ...]:
    """Names of the policies that ``use`` can have, those of installed plug-ins last."""
    own = policy_names(use)
    return (*own, *(name for name in installed("policy") if name not in POLICIES)) if use in PLUGGED else own


def policy_named(name: str) -> Policy:
    """The policy ``name`` of the registry or of a plug-in. PluginError if there is none."""
    return POLICIES[name] if name in POLICIES else _plugged(find("policy", name))


def _plugged(plugin: Plugin) -> Policy:
    return Policy(
        f"a policy of {plugin.distribution}", passes=Passes(PluggedMaker(plugin)),
        misses="its plug-in chooses the pages that a pass asks about",
        holds="its plug-in chooses the pages that a pass asks about",
    )  # fmt: skip


def policy_of(name: str, era: str, use: Use) -> Policy:
    """The policy that ``name`` stands for in kernels of ``era``. InputError if ``use`` has none of that name."""
    if name not in policy_names(use) and name not in all_names(use):
        raise unknown_name("policy", name, all_names(use))
    found = policy_named(name)
    return found if found.of_era is None else POLICIES[found.of_era(era)]


def policies_markdown() -> str:
    """A table of all policies for the reference."""
    rows = [(f"`{name}`", _cross(policy), policy.help) for name, policy in POLICIES.items()]
    return "\n".join(_row(cells) for cells in (("policy", "where", "what it does"), ("---",) * 3, *rows))


def _cross(policy: Policy) -> str:
    return ", ".join(text for use, text in USES.items() if policy.serves(use))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
