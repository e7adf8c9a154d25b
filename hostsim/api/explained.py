"""The verdict on real migrations from Python, from their log."""

from __future__ import annotations

from pathlib import Path

from hostsim.core.units import parse_bandwidth, parse_duration
from hostsim.logs.sniff import read_logs
from hostsim.verdict import Verdict, explain_log


def explain(
    log: str | Path,
    tag: str | None = None,
    *,
    downtime_limit: str | None = None,
    bandwidth: str | None = None,
    link: str | None = None,
    profile: str | None = None,
) -> list[Verdict]:
    """The verdict on each migration in the file ``log``; ``hostsim.verdict.render`` writes one as ``hostsim explain`` does.

    tag: only the migration of this tag, where a log holds several.
    downtime_limit: that was set, as "300ms".
    bandwidth: max-bandwidth that was set, as "32MiB/s", or "unlimited".
    link: bandwidth of the link, as "10Gbit/s".
    profile: whose commands to name: qemu, libvirt, nova, kubevirt, proxmox; None: of the one that wrote the log.
    InputError.
    """
    known = {
        "downtime_limit_ms": None if downtime_limit is None else parse_duration(downtime_limit) / 1e6,
        "max_bandwidth_bytes_per_s": None if bandwidth is None else parse_bandwidth(bandwidth),
        "link_bandwidth_bytes_per_s": None if link is None else parse_bandwidth(link),
    }
    given = {name: value for name, value in known.items() if value is not None}
    return [explain_log(one, profile=profile, **given) for one in read_logs(str(log), tag)]
