"""From a file or standard input to logs: every reader takes the text, and each migration found is a log."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from hostsim.core.errors import InputError, Problem
from hostsim.core.user_files import LOG, read_bytes
from hostsim.logs.as_typed import as_typed
from hostsim.logs.carried import carried
from hostsim.logs.decorations import undecorated
from hostsim.logs.foreign import first_line, foreign
from hostsim.logs.forms import FORMS, WANTED, Form, is_worth_reading
from hostsim.logs.items import items_of
from hostsim.logs.joined import joined
from hostsim.logs.model import MigrationLog, Sample, broken, build_log
from hostsim.logs.objects import objects_in
from hostsim.logs.order import in_order
from hostsim.logs.reader import Reader, labelled
from hostsim.logs.unpack import unpacked
from hostsim.logs.virsh import ALL_LABELS, with_colons
from hostsim.logs.whose import by_guest, by_memory

LOCALIZED = re.compile(r"\s*[^\W\d][^:\uff1a\d]{2,40}[:\uff1a]\s*[\d.,]+\s*(?:[KMGT]i?[Bo]|ms|\S{1,12}/s)?\s*")
SIZED = re.compile(r"[:\uff1a]\s*[\d.,]+\s*[KMGT]i?[Bo]\s*$", re.MULTILINE)
LABELS_MIN = 3
EXAMPLE = "virsh domjobinfo DOMAIN > job.txt, each second"
LOCALE_HINT = "virsh's labels in English: run it as LC_ALL=C virsh domjobinfo DOMAIN"
Read = tuple[Form, Reader]


def read_logs(path: str, tag: str | None = None) -> tuple[MigrationLog, ...]:
    """All migrations in the file ``path`` ("-": standard input), or the one of ``tag``. Raises InputError."""
    source = "standard input" if path == "-" else path
    return parse_logs(_decoded(unpacked(_bytes_of(path), source), source), source, tag)


def parse_logs(text: str, source: str = "log", tag: str | None = None) -> tuple[MigrationLog, ...]:
    """All migrations in ``text`` as they first appear, or those called ``tag``. Raises InputError."""
    text = as_typed(text.replace("\r\n", "\n").replace("\r", "\n"))
    within = carried(undecorated(text))
    text = with_colons(joined(within if within is text else as_typed(within)))
    read = _read(text)
    found = [(form, reader) for form, reader in read if reader.samples or reader.readings]
    found = [one for one in found if not _is_empty(one[1])] or found
    refusals = [refusal for _, reader in read for refusal in reader.refusals]
    if not found:
        raise _unknown(text, source, refusals)
    strong = [one for one in found if not one[0].is_weak] or found[:1]
    if not any(_has_sizes(reader) for _, reader in strong):
        strong = [one for one in found if one[0].name == "figures"] or strong
    if [form.name for form, _ in strong] == ["figures"] and foreign(text):
        raise _unknown(text, source, refusals)
    logs = [log for form, reader in strong for log in _logs_of(form, reader, source, refusals)]
    logs = [_with_rates(log, read) for log in logs]
    _refuse_localized(text, source, logs)
    named = {log.tag for log in logs if _has_figures(log)}
    logs = [log for log in logs if _has_figures(log) or (named and log.tag not in named and log.tag)] or logs
    picked = tuple(log for log in logs if tag is None or log.tag == tag)
    if not picked:
        names = list(dict.fromkeys(log.tag for log in logs))
        known = ", ".join(name or "(none)" for name in names)
        raise InputError([Problem(source, "--tag", str(tag), f"one of: {known}", f"--tag {names[0]}")])
    return picked


def _read(text: str) -> list[Read]:
    reads = [(form, form.reader()) for form in FORMS]
    for _, reader in reads:
        reader.survey(text)
    for item in items_of(text, is_worth_reading):
        for _, reader in reads:
            reader.take(item)
    for _, reader in reads:
        reader.finish()
    return reads


def _logs_of(form: Form, reader: Reader, source: str, refusals: Sequence[str]) -> list[MigrationLog]:
    """One log for each tag, and for each migration of that tag; readings of a dirty rate are one log."""
    if reader.readings and not reader.samples:
        log = build_log([Sample(reader.readings[0].line, "none")], source, form.name)
        return [replace(log, readings=tuple(reader.readings))]
    by_guest(reader.samples)
    by_memory(reader.samples)
    order = {tag: i for i, tag in enumerate(dict.fromkeys(s.tag for s in reader.samples))}
    groups = groupby(sorted(reader.samples, key=lambda s: order[s.tag]), key=lambda s: s.tag)
    logs = []
    for _, group in groups:
        parts, notes = in_order(list(group), source)
        some = [build_log(part, source, form.name, (i, len(parts))) for i, part in enumerate(parts, 1)]
        logs += [replace(log, notes=(*log.notes, *notes)) for log in some]
    return [replace(log, notes=(*log.notes, *refusals[:1])) for log in logs]


def _with_rates(log: MigrationLog, read: Sequence[Read]) -> MigrationLog:
    """``log`` with the dirty rates that were measured beside it; readings alone are a log of their own."""
    rates = tuple(one for _, reader in read for one in reader.readings if one.bytes_per_s is not None)
    return replace(log, setup=replace(log.setup, dirty_rates=rates)) if rates and not log.readings else log


def _is_empty(reader: Reader) -> bool:
    """Whether all answers of ``reader`` are that no migration or job runs: they do not count beside other answers."""
    return not reader.readings and all(s.status == "none" and not s.figures.keys() - {"stamp_s"} for s in reader.samples)


def _has_sizes(reader: Reader) -> bool:
    """Whether any answer of ``reader`` has more than statuses and times."""
    told = {"remaining_bytes", "transferred_bytes", "disk_remaining_bytes", "percent", "timeout_s", "dirty_sync_count"}
    return bool(reader.readings) or any(told & sample.figures.keys() for sample in reader.samples)


def _has_figures(log: MigrationLog) -> bool:
    """Whether ``log`` has more than statuses: a status beside another form's figures is no migration of its own."""
    columns = (log.t_s, log.transferred_bytes, log.remaining_bytes, log.disk_total_bytes, log.percent, log.timeout_s)
    return any((np.nan_to_num(column) > 0).any() for column in columns) or bool(log.readings)


def _unknown(text: str, source: str, refusals: Sequence[str]) -> InputError:
    if refusals:
        return broken(source, 0, "", refusals[0], "an answer about a migration beside it")
    if _is_localized(text):
        return broken(source, 1, "", "figures under labels that are not English", LOCALE_HINT)
    kind = foreign(text)
    if kind:
        return broken(source, first_line(kind, text), "", kind.what, kind.wanted, EXAMPLE)
    cut = next((found for found in objects_in(text) if found.value is None), None)
    if cut:
        got = f"an object that is cut off or no JSON: {text[cut.start : cut.start + 40]!r}"
        return broken(source, 1 + text.count("\n", 0, cut.start), "", got, WANTED)
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return broken(source, 1, "", "nothing", WANTED)
    return broken(source, first + 1, "", f"no answer about a migration: {lines[first].strip()[:60]!r}", WANTED)


def _refuse_localized(text: str, source: str, logs: Sequence[MigrationLog]) -> None:
    """Translations are seldom complete: a few labels in English with the figures under others. Raises InputError."""
    told = any((~np.isnan(log.remaining_bytes) | ~np.isnan(log.disk_remaining_bytes)).any() for log in logs)
    if not told and all(log.format == "domjobinfo" for log in logs) and _is_localized(text):
        raise broken(source, 1, "", "figures under labels that are not English", LOCALE_HINT)


def _is_localized(text: str) -> bool:
    """Several lines of a label, a number and a unit, two of them sizes, as domjobinfo prints them."""
    lines = [line for line in text.splitlines() if LOCALIZED.fullmatch(line) and not labelled(line, ALL_LABELS)]
    return len(lines) >= LABELS_MIN and sum(bool(SIZED.search(line)) for line in lines) >= 2


def _bytes_of(path: str) -> bytes:
    if path != "-":
        return read_bytes(path, LOG)
    content = sys.stdin.buffer.read(LOG.bytes_max + 1)
    if len(content) > LOG.bytes_max:
        wanted = "the lines about one migration"
        raise InputError([Problem(path, "LOG", f"more than {LOG.bytes_max >> 20} MiB", wanted, LOG.example)])
    return content


def _decoded(content: bytes, source: str) -> str:
    """UTF-8 and UTF-16, with or without a mark; bytes that are no text in a line of a log are passed over."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if encoding := _utf_16(content):
        return content.decode(encoding, errors="replace")
    if b"\x00" in content[:4096]:
        line = 1 + content.count(b"\n", 0, content.index(b"\x00"))
        raise broken(source, line, "", "a byte of zero", "text in UTF-8")
    return content.decode("utf-8-sig", errors="replace")


def _utf_16(content: bytes) -> str:
    """The order of bytes of a text in UTF-16 without a mark: every other byte is zero; "" if it is none."""
    head = content[:4096]
    zeros = [head[first::2].count(0) for first in (0, 1)]
    most = max(zeros)
    return ("utf-16-be", "utf-16-le")[zeros.index(most)] if most > 0.4 * len(head) and min(zeros) == 0 else ""
