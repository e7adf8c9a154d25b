"""Times that stand before a line of a log, as seconds; the year is that of the text, or 1970 where it has none.

A time with its distance from UTC counts as UTC: summer time ends in the middle of a log, and hosts differ.
"""

from __future__ import annotations

import re
from datetime import date

SEARCHED_CHARS = 96
"""A time stamp stands near the start of its line."""
MONTHS = {
    name: i for i, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
CLOCK = r"(?P<h>[0-2]\d):(?P<m>[0-5]\d):(?P<s>[0-6]\d(?:[.,]\d{1,9})?)"
ZONE = r"(?: ?(?P<sign>[+-])(?P<zone_h>\d\d):?(?P<zone_m>[0-5]\d)\b)?"
ISO = re.compile(r"(?P<year>\d{4})(?P<cut>[-/])(?P<month>\d\d)(?P=cut)(?P<day>\d\d)[T _]" + CLOCK + ZONE)
COMPACT = re.compile(
    r"(?P<year>20\d\d)(?P<month>[01]\d)(?P<day>[0-3]\d)T(?P<h>[0-2]\d)(?P<m>[0-5]\d)(?P<s>[0-6]\d(?:\.\d{1,9})?)(?!\d)"
)
DAY_FIRST = re.compile(r"(?<!\d)(?P<day>[0-3]?\d)(?P<cut>[./])(?P<month>[01]?\d)(?P=cut)(?P<year>20\d\d),?[ T]" + CLOCK)
"""As Windows and many logs of Europe write it; of dates with the month first the days of one log still follow each other."""
APACHE = re.compile(r"(?<!\d)(?P<day>[0-3]?\d)/(?P<name>[A-Z][a-z]{2})/(?P<year>20\d\d):" + CLOCK + ZONE)
KLOG = re.compile(r"(?:^|[\s>])[IWEF](?P<month>[01]\d)(?P<day>[0-3]\d) " + CLOCK)
"""Of Kubernetes: a letter for the level, month and day without a year."""
SYSLOG = re.compile(r"\b(?P<name>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) " + CLOCK + r"(?: [A-Z]{2,5})?(?: (?P<year>\d{4}))?")
LOCAL = re.compile(r"(?=.*\b20\d\d\b)\D{0,24}\d{1,2}\D[^:]{0,24}(?<!\d)" + CLOCK + r"(?![\d:])")
"""As ``date`` prints it in another language, whose months are not known: the time of day alone."""
UPTIME = re.compile(r"\[\s*(?P<up>\d{1,9}\.\d{3,9})\]")
"""Seconds since the host started, as dmesg and ``strace -r`` print them."""
BARE = re.compile(r"\W{0,4}" + CLOCK + r"\b")
EPOCH = re.compile(r"(?:\W{0,4}|\d{1,10}@)(?P<epoch>1\d{9}(?:\d{3}){0,3}(?:\.\d{1,9})?)(?![\d.])")
"""As ``date +%s`` or ``+%s%N`` prints it, and QEMU's log behind the number of its process."""
DATED = (ISO, SYSLOG, DAY_FIRST, APACHE, KLOG, COMPACT)
EPOCH_UNITS = {10: 1.0, 13: 1e3, 16: 1e6, 19: 1e9}
"""Digits of a time since 1970, between 2001 and 2286, and its units in a second."""
DAY_S = 86400.0
EPOCH_DAY = date(1970, 1, 1).toordinal()
"""Stamps count from 1970, as those of QMP's events do, which stand beside them."""


def stamp_s(text: str) -> float | None:
    """Seconds of the time stamp that opens ``text``; days are counted from 1970; None if there is none."""
    head = text[:SEARCHED_CHARS]
    for pattern in DATED:
        found = pattern.search(head)
        if found and (day := _day(found.groupdict())) is not None:
            return day * DAY_S + _clock_s(found) - _east_s(found.groupdict())
    clock, epoch, up = BARE.match(head) or LOCAL.match(head), EPOCH.match(head), UPTIME.match(head)
    if clock:
        return _clock_s(clock)
    return epoch_s(epoch["epoch"]) if epoch else float(up["up"]) if up else None


def epoch_s(digits: str) -> float | None:
    """Seconds of a count of seconds, ms, us or ns since 1970; None if ``digits`` is none."""
    whole = digits.split(".", 1)[0]
    return float(digits) / EPOCH_UNITS[len(whole)] if whole.isdigit() and len(whole) in EPOCH_UNITS else None


def _day(parts: dict[str, str | None]) -> int | None:
    month = MONTHS.get((parts.get("name") or "").lower(), 0) or int(parts.get("month") or 0)
    try:
        return date(int(parts.get("year") or 1970), month, int(parts["day"] or 0)).toordinal() - EPOCH_DAY
    except ValueError:
        return None


def _east_s(parts: dict[str, str | None]) -> float:
    """Distance of the time's zone from UTC, more in the east; 0 where the stamp has no zone."""
    east_s = int(parts.get("zone_h") or 0) * 3600.0 + int(parts.get("zone_m") or 0) * 60.0
    return -east_s if parts.get("sign") == "-" else east_s


def _clock_s(found: re.Match[str]) -> float:
    return int(found["h"]) * 3600 + int(found["m"]) * 60 + float(found["s"].replace(",", "."))
