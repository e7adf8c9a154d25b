"""``hostsim compare guestperf:NAME``: the comparisons that QEMU's guestperf makes, run in the simulator.

QEMU 10.2 tests/migration-stress/guestperf: comparison.py (the table), scenario.py (what holds where a row says nothing),
engine.py (polls each 50 ms, cancels after max_iters iterations and after max_time).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import shown
from hostsim.scenario import load_scenario
from hostsim.scenario.problems import wanted_name
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.axes import Axis
from hostsim.study.compare.modes import KEY, OFF, RINGS, Modes
from hostsim.study.compare.plan import Request, plan_of

PREFIX, ALL, EXAMPLE = "guestperf:", "all", "hostsim compare guestperf:post-copy-iters"
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {"downtime": 500, "bandwidth": 125_000, "max_iters": 30, "max_time": 300, "pause_iters": 5, "post_copy_iters": 5,
     "auto_converge_step": 10, "compression_xbzrle_cache": 10, "multifd_channels": 2, "multifd_compression": "none",
     "x_vcpu_dirty_limit_period": 500, "vcpu_dirty_limit": 1}
)  # fmt: skip
"""scenario.py: ms, MiB/s, iterations, s, percent, MiB/s."""
FIRST_POLL = "50ms"
"""A condition that holds from the start is seen by the first poll."""
GONE = {
    "compression_mt": "compression by threads was removed in QEMU 9.1",
    "qpl": "qpl compresses on a device, which has no model", "uadk": "uadk compresses on a device, which has no model",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One scenario of guestperf: the parameters that differ from ``DEFAULTS``."""

    name: str
    given: Mapping[str, Any] = field(default_factory=dict)

    def value(self, key: str) -> Any:
        """A parameter, as given or by default."""
        return self.given.get(key, DEFAULTS.get(key, False))

    @property
    def gone(self) -> str:
        """The reason why hostsim cannot run it, "" if it can."""
        return GONE["compression_mt"] if self.value("compression_mt") else GONE.get(self.value("multifd_compression"), "")

    def keys(self, memory_bytes: int) -> dict[str, str]:
        """Keys of [migration]."""
        common = {
            "downtime_limit": f"{self.value('downtime')}ms", "bandwidth": f"{self.value('bandwidth')}MiB/s",
            "timeout": f"{self.value('max_time')}s", "cancel_after_round": str(self.value("max_iters") + 1),
        }  # fmt: skip
        chosen = (keys for flag, keys in MECHANISMS.items() if self.value(flag))
        return {**OFF, **common, **{key: text for keys in chosen for key, text in keys(self, memory_bytes).items()}}


def _pause(row: Row, memory_bytes: int) -> dict[str, str]:
    del memory_bytes
    n = row.value("pause_iters")
    return {"suspend_after_round": str(n)} if n else {"suspend_after": FIRST_POLL}


def _post_copy(row: Row, memory_bytes: int) -> dict[str, str]:
    """Iteration n is under way after sync n, so n - 1 rounds are over."""
    del memory_bytes
    n = row.value("post_copy_iters")
    return {"postcopy_ram": "true"} | ({"postcopy_after_rounds": str(n - 1)} if n > 1 else {"postcopy_after": FIRST_POLL})


def _auto_converge(row: Row, memory_bytes: int) -> dict[str, str]:
    del memory_bytes
    return {"auto_converge": "true", "cpu_throttle_increment": str(row.value("auto_converge_step"))}


def _xbzrle(row: Row, memory_bytes: int) -> dict[str, str]:
    """QEMU takes a power of two alone; guestperf asks for a share of memory, so the next power below stands for it."""
    wanted = max(4096, memory_bytes * row.value("compression_xbzrle_cache") // 100)
    return {"xbzrle": "true", "xbzrle_cache_size": f"{1 << wanted.bit_length() - 1}B"}


def _multifd(row: Row, memory_bytes: int) -> dict[str, str]:
    del memory_bytes
    channels, method = row.value("multifd_channels"), row.value("multifd_compression")
    return {"multifd": "true", "multifd_channels": str(channels), "multifd_compression": method}


def _dirty_limit(row: Row, memory_bytes: int) -> dict[str, str]:
    del memory_bytes
    return {
        "dirty_limit": "true", "x_vcpu_dirty_limit_period": f"{row.value('x_vcpu_dirty_limit_period')}ms",
        "vcpu_dirty_limit": str(row.value("vcpu_dirty_limit")),
    }  # fmt: skip


MECHANISMS = {
    "pause": _pause, "post_copy": _post_copy, "auto_converge": _auto_converge, "compression_xbzrle": _xbzrle,
    "multifd": _multifd, "dirty_limit": _dirty_limit,
}  # fmt: skip
"""The keys of each mechanism of a row that is on."""
_SPEEDS = {"100mbs": 12, "300mbs": 37, "1gbs": 125, "10gbs": 1250, "100gbs": 12500}


def _rows(name: str, key: str, values: Mapping[str, Any], **given: Any) -> tuple[Row, ...]:
    return tuple(Row(f"{name}-{label}", {**given, key: value}) for label, value in values.items())


def _same(*values: Any) -> dict[str, Any]:
    return {str(value): value for value in values}


COMPARISONS: Mapping[str, tuple[Row, ...]] = MappingProxyType(
    {
        "pause-iters": _rows("pause-iters", "pause_iters", _same(0, 1, 5, 20), pause=True),
        "post-copy-bandwidth": _rows("post-copy-bw", "bandwidth", _SPEEDS, post_copy=True),
        "post-copy-iters": _rows("post-copy-iters", "post_copy_iters", _same(0, 1, 5, 20), post_copy=True),
        "auto-converge-iters": _rows("auto-converge-step", "auto_converge_step", _same(5, 10, 20), auto_converge=True),
        "auto-converge-bandwidth": _rows("auto-converge-bw", "bandwidth", _SPEEDS, auto_converge=True),
        "compr-mt": _rows("compr-mt-threads", "compression_mt_threads", _same(1, 2, 4), compression_mt=True),
        # cache-20 asks for 10 %, as guestperf's table has it.
        "compr-xbzrle": _rows(
            "compr-xbzrle-cache", "compression_xbzrle_cache", {"5": 5, "10": 10, "20": 10, "50": 50}, compression_xbzrle=True
        ),
        "compr-multifd": _rows("compr-multifd-channels", "multifd_channels", _same(4, 8, 32, 64), multifd=True),
        "compr-dirty-limit-period": _rows(
            "compr-dirty-limit-period", "x_vcpu_dirty_limit_period", _same(500, 800, 1000), dirty_limit=True
        ),
        "compr-dirty-limit": _rows(
            "compr-dirty-limit", "vcpu_dirty_limit", {"10MB": 10, "20MB": 20, "50MB": 50}, dirty_limit=True
        ),
        "compr-multifd-compression": _rows(
            "compr-multifd-compression", "multifd_compression", _same("zlib", "zstd", "qpl", "uadk"), multifd=True
        ),
    }
)
"""comparison.py: 11 comparisons, 42 scenarios."""


def guestperf_plan(request: Request, text: str) -> Modes:
    """The runs of ``text`` ("guestperf:all", or one comparison), of the guest in ``request.file``. InputError.

    Rows with dirty-limit run with dirty rings, which QEMU requires: guestperf's --dirty-ring-size.
    """
    rows = {row.name: row for row in _chosen(text.removeprefix(PREFIX))}
    scenarios: dict[str, Scenario] = {}
    left_out: dict[str, str] = {}
    base = load_scenario(request.file, list(request.overrides), request.seed)
    for row in rows.values():
        reason = row.gone
        if not reason:
            try:
                scenarios[row.name] = _scenario(request, row, base)
            except InputError as error:
                reason = f"it needs {error.problems[0].wanted}"
        if reason:
            left_out[row.name] = reason
    if not scenarios:
        raise InputError([Problem(text, "", f"{name}: {reason}", "a comparison that has a model", EXAMPLE)
                          for name, reason in left_out.items()])  # fmt: skip
    made = replace(
        request, axes=(Axis(KEY, tuple(scenarios), tuple(scenarios)),), name=request.name or text.replace(":", "-"),
        command=("hostsim", "compare", text, "--vm", str(request.file)),
    )  # fmt: skip
    limited = tuple(name for name in scenarios if rows[name].value("dirty_limit"))
    with_rings = limited if base.vm.dirty_tracking != "dirty-ring" else ()
    return Modes(plan_of(made, [(name,) for name in scenarios], list(scenarios.values())), left_out, with_rings)


def _scenario(request: Request, row: Row, base: Scenario) -> Scenario:
    keys = [f"migration.{key}={value}" for key, value in row.keys(base.vm.memory).items()]
    rings = [RINGS] if row.value("dirty_limit") and base.vm.dirty_tracking != "dirty-ring" else []
    return load_scenario(request.file, [*request.overrides, *keys, *rings], request.seed)


def _chosen(name: str) -> Iterator[Row]:
    if name == ALL:
        for rows in COMPARISONS.values():
            yield from rows
        return
    name = name.replace("compression-", "compr-") if name not in COMPARISONS else name
    if name not in COMPARISONS:
        raise InputError([Problem("guestperf", "", shown(name), wanted_name(name, [*COMPARISONS, ALL]), EXAMPLE)])
    yield from COMPARISONS[name]
