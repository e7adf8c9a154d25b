"""From a file or standard input to logs: which format it is, and one log per tag."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from hostsim.errors import InputError, Problem
from hostsim.logs.info_migrate import STATUS_LINE, read_info_migrate
from hostsim.logs.model import MigrationLog, Sample, broken, build_log
from hostsim.logs.query_migrate import read_query_migrate
from hostsim.logs.virsh import LABELS, read_virsh

Reader = Callable[[str, str], list[Sample]]
WANTED = "answers of QMP query-migrate (JSON), output of virsh domjobinfo, or of the monitor's info migrate"
VIRSH_LINE = re.compile(rf"^\s*(?:job type|{'|'.join(LABELS)})\s*:", re.IGNORECASE | re.MULTILINE)
READERS: dict[str, Reader] = {
    "query-migrate": read_query_migrate,
    "info-migrate": read_info_migrate,
    "domjobinfo": read_virsh,
}


def read_logs(path: str, tag: str | None = None) -> tuple[MigrationLog, ...]:
    """All migrations in the file ``path`` ("-": standard input), or the one of ``tag``. Raises InputError."""
    source = "standard input" if path == "-" else path
    return parse_logs(_decoded(_bytes_of(path), source), source, tag)


def parse_logs(text: str, source: str = "log", tag: str | None = None) -> tuple[MigrationLog, ...]:
    """All migrations in ``text`` as they first appear, or the one called ``tag``. Raises InputError."""
    log_format = sniff_format(text, source)
    samples = READERS[log_format](text, source)
    if not samples:
        raise broken(source, 1, "", "no answer about a migration", WANTED)
    order = list(dict.fromkeys(s.tag for s in samples))
    grouped = groupby(sorted(samples, key=lambda s: order.index(s.tag)), key=lambda s: s.tag)
    picked = {name: list(group) for name, group in grouped if tag is None or name == tag}
    if not picked:
        known = ", ".join(name or "(none)" for name in order)
        raise InputError([Problem(source, "--tag", str(tag), f"one of: {known}", f"--tag {order[0]}")])
    return tuple(build_log(group, source, log_format) for group in picked.values())


def sniff_format(text: str, source: str = "log") -> str:
    """Format of ``text``: a key of READERS. Raises InputError if it is none of them."""
    if text.lstrip()[:1] in ("{", "["):
        return "query-migrate"
    if any(STATUS_LINE.fullmatch(line) for line in text.splitlines()):
        return "info-migrate"
    if VIRSH_LINE.search(text):
        return "domjobinfo"
    first = next((line for line in text.splitlines() if line.strip()), "nothing")
    raise broken(source, 1, "", repr(first.strip()[:60]), WANTED)


def _bytes_of(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError([Problem(path, "LOG", reason, f"a readable file of {WANTED}")]) from error


def _decoded(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise broken(source, line, "", f"byte 0x{content[error.start]:02x}", "text in UTF-8") from error
