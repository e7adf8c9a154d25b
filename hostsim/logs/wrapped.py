"""Texts that a program has put into its JSON: loggers, journald, Ansible, answers of web services, and QMP's own monitor.

A line of a log may stand in any string of such a document. Its time is the one beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hostsim.logs.stamps import epoch_s

MESSAGE_KEYS = ("msg", "message", "MESSAGE", "log", "line", "stdout")
"""Keys under which loggers that write JSON (virt-launcher, kubelet, journald, Ansible) keep the logged text."""
TIME_KEYS = ("timestamp", "time", "ts", "@timestamp", "_time", "timeUnixNano", "observedTimeUnixNano", "asctime", "datetime")
EPOCH_KEYS = ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP")
"""Microseconds since 1970 in the JSON of journalctl."""
QMP_KEYS = ("ram", "error-desc", "execute", "arguments", "migrationState", "progress_history", "apiVersion")
"""Objects with one of these are read as objects: answers of QMP, a VMI, a report; their texts are no lines of a log."""
LINE_MIN = 16
"""A shorter text (a name, a status) is no line of a log."""
LEVELS_MAX = 12
SECONDS_MAX = 10**11
"""Far beyond the year 5000: a larger time is a broken record."""
Text = tuple[str, str]
"""The time of a text, "" if none stands beside it; and the text."""


def messages(value: Any) -> list[Text]:
    """The texts that a logger, Ansible (a loop has several results) or QMP's human-monitor-command put into ``value``."""
    if not isinstance(value, dict) or "ram" in value:
        return []
    if "return" in value:
        return [("", value["return"])] if isinstance(value["return"], str) and "\n" in value["return"] else []
    results = value.get("results")
    if isinstance(results, list):
        return [text for result in results for text in messages(result)]
    told = next((value[key] for key in MESSAGE_KEYS if isinstance(value.get(key), str | list)), None)
    if isinstance(told, list):
        told = _of_bytes(told)
    return [(time_beside(value), f"{told}{_reason_beside(value, told)}")] if told is not None else []


def _reason_beside(value: Mapping[str, Any], told: str) -> str:
    """The reason that virt-launcher keeps beside the message of an error."""
    reason = value.get("reason")
    return f": {reason}" if isinstance(reason, str) and reason and "\n" not in told and reason not in told else ""


def texts_within(value: Any) -> list[Text]:
    """Every text of a document that may be lines of a log, with the time beside it."""
    return list(_within(value, "", 0))


def _within(value: Any, time: str, level: int) -> Iterator[Text]:
    if level > LEVELS_MAX:
        return
    if isinstance(value, dict):
        if not _is_read_as_object(value):
            time = time_beside(value) or time
            for inner in value.values():
                yield from _within(inner, time, level + 1)
    elif isinstance(value, list):
        time = (_of_epoch(value[0]) if value else "") or time
        for inner in value:
            yield from _within(inner, time, level + 1)
    elif isinstance(value, str) and len(value) >= LINE_MIN and (" " in value or "{" in value):
        yield time, value


def _is_read_as_object(value: Mapping[str, Any]) -> bool:
    return any(key in value for key in QMP_KEYS) or isinstance(value.get("event"), str)


def guest_of(value: Any) -> str:
    """The guest that KubeVirt's loggers name beside a text; "" where they name none."""
    is_kubevirts = isinstance(value, dict) and {"component", "name"} <= value.keys()
    return str(value["name"]) if is_kubevirts else ""


def time_beside(value: Mapping[str, Any]) -> str:
    """The time in a record of a logger, as text; "" without one."""
    epoch = next((value[key] for key in EPOCH_KEYS if str(value.get(key, "")).isdigit()), None)
    if epoch is not None:
        return datetime.fromtimestamp(int(epoch) % 10**17 / 1e6, UTC).isoformat()
    told = next((value[key] for key in TIME_KEYS if isinstance(value.get(key), str | int | float)), "")
    return _of_epoch(told) or (told if isinstance(told, str) else "")


def _of_epoch(told: Any) -> str:
    """A count of seconds, ms, us or ns since 1970 as text; "" if ``told`` is none."""
    seconds = epoch_s(str(told)) if isinstance(told, str | int | float) else None
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def own_time(value: Any) -> str:
    """The time in a record of a command and its answer, or of a script that put it beside an answer; "" without one."""
    return qmp_time(value) or (time_beside(value) if isinstance(value, dict) and "event" not in value else "")


def qmp_time(value: Any) -> str:
    """The time in a record of a command and its answer, in the form that events of QMP have; "" without one."""
    at = value.get("timestamp") if isinstance(value, dict) and "execute" in value else None
    seconds, us = (at.get("seconds"), at.get("microseconds", 0)) if isinstance(at, dict) else (None, 0)
    if not isinstance(seconds, int) or not isinstance(us, int) or not 0 <= seconds < SECONDS_MAX:
        return ""
    return (datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=us % 1_000_000)).isoformat()


def _of_bytes(values: list[Any]) -> str | None:
    """A message with a byte that is no text, as journalctl prints it; lines of a text; None if it is neither."""
    if values and all(isinstance(value, str) for value in values):
        return "\n".join(values)
    is_bytes = bool(values) and all(isinstance(value, int) and 0 <= value < 256 for value in values)
    return bytes(values).decode("utf-8", errors="replace") if is_bytes else None
