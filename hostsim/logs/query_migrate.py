"""Reader of QMP ``query-migrate`` answers: one JSON object a line, an array, or objects one after the
other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hostsim.logs.model import Sample, broken, checked_figure

EXAMPLE = '{"t": 1.5, "info": {"status": "active", "ram": {...}}}'

TOP = {
    "total-time": "total_time_ms",
    "setup-time": "setup_time_ms",
    "downtime": "downtime_ms",
    "expected-downtime": "expected_downtime_ms",
    "cpu-throttle-percentage": "throttle_percent",
}
RAM = {
    "total": "total_bytes",
    "remaining": "remaining_bytes",
    "transferred": "transferred_bytes",
    "precopy-bytes": "precopy_bytes",
    "postcopy-bytes": "postcopy_bytes",
    "downtime-bytes": "downtime_bytes",
    "multifd-bytes": "multifd_bytes",
    "normal": "normal_pages",
    "normal-bytes": "normal_bytes",
    "duplicate": "zero_pages",
    "page-size": "page_size_bytes",
    "dirty-sync-count": "dirty_sync_count",
    "dirty-pages-rate": "dirty_pages_rate_per_s",
    "mbps": "mbps",
    "pages-per-second": "pages_per_second",
    "postcopy-requests": "postcopy_requests",
}
XBZRLE = {
    "cache-size": "xbzrle_cache_bytes",
    "bytes": "xbzrle_bytes",
    "pages": "xbzrle_pages",
    "cache-miss": "xbzrle_cache_misses",
    "overflow": "xbzrle_overflows",
    "encoding-rate": "xbzrle_encoding_rate",
}
SECTIONS = (("ram", RAM), ("xbzrle-cache", XBZRLE))


def read_query_migrate(text: str, source: str) -> list[Sample]:
    """Samples of all answers in ``text``; QMP greetings, events and empty answers are passed over.

    An answer may be bare, within {"return": ..}, or within {"t": seconds, "info": .., "tag": ..}.
    Raises InputError naming the line of what is broken.
    """
    samples = []
    for line, record in _records(text, source):
        sample = _sample(record, source, line)
        if sample is not None:
            samples.append(sample)
    return samples


def _records(text: str, source: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    at, line = _skip_blank(text, 0), 1 + text[: _skip_blank(text, 0)].count("\n")
    while at < len(text):
        value, end = _decode(decoder, text, at, source, line)
        yield from ((line, item) for item in (value if isinstance(value, list) else [value]))
        following = _skip_blank(text, end)
        line += text.count("\n", at, following)
        at = following


def _skip_blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,\x1e":
        at += 1
    return at


def _decode(decoder: json.JSONDecoder, text: str, at: int, source: str, line: int) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        start = max(at, error.pos - 20)
        got = f"{error.msg}: {text[start : error.pos + 20]!r}"
        raise broken(source, error.lineno, "", got, "one JSON answer of query-migrate", EXAMPLE) from error
    except (RecursionError, ValueError) as error:
        raise broken(source, line, "", str(error), "one JSON answer of query-migrate", EXAMPLE) from error


def _sample(record: Any, source: str, line: int) -> Sample | None:
    if not isinstance(record, dict):
        got = type(record).__name__
        raise broken(source, line, "", got, "a JSON object: an answer of query-migrate", EXAMPLE)
    if {"QMP", "event", "execute"} & record.keys():
        return None
    answer = _answer(record)
    if not isinstance(answer, dict):
        raise broken(source, line, "", type(answer).__name__, "an answer of query-migrate as an object", EXAMPLE)
    return _read_answer(record, answer, source, line) if answer else None


def _answer(record: dict[str, Any]) -> Any:
    return next((record[key] for key in ("info", "return") if key in record), record)


def _read_answer(record: dict[str, Any], answer: dict[str, Any], source: str, line: int) -> Sample:
    sample = Sample(line, _text(answer, "status", source, line, needed=True))
    sample.tag = _text(record, "tag", source, line)
    sample.error_desc = _text(answer, "error-desc", source, line)
    _take(sample, record if answer is not record else {}, {"t": "t_s"}, "", source)
    _take(sample, answer, TOP, "", source)
    for section, names in SECTIONS:
        part = answer.get(section, {})
        if not isinstance(part, dict):
            raise broken(source, line, section, type(part).__name__, "an object of counters")
        _take(sample, part, names, f"{section}.", source)
    return sample


def _text(record: dict[str, Any], key: str, source: str, line: int, needed: bool = False) -> str:
    value = record.get(key, None if needed else "")
    if not isinstance(value, str):
        got = "nothing" if value is None else repr(value)
        raise broken(source, line, key, got, "a text", '"status": "active"')
    return value


def _take(sample: Sample, part: dict[str, Any], names: dict[str, str], prefix: str, source: str) -> None:
    for key, name in names.items():
        if part.get(key) is not None:
            sample.figures[name] = _number(part[key], source, sample.line, prefix + key)


def _number(value: Any, source: str, line: int, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise broken(source, line, key, repr(value), "a number", '"remaining": 1069953024')
    return checked_figure(value, source, line, key)
