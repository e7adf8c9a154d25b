"""One line on standard error while a live QEMU is recorded: the status, what remains, the answers so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hostsim.report.console import err_console
from hostsim.verdict.words import bytes_words


@contextmanager
def record_progress(*, quiet: bool = False) -> Iterator[Callable[[str, int, dict[str, Any]], None]]:
    """Yields a callback (status, answers, line); silent if ``quiet`` or not on a terminal."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda _status, _answers, _line: None
        return
    with console.status("recording") as shown:
        yield lambda status, answers, line: shown.update(standing(status, answers, line))


def standing(status: str, answers: int, line: dict[str, Any]) -> str:
    """``recording: active, iteration 3, 120 MB remaining; 34 answers; Ctrl-C ends it``."""
    answer = line.get("return")
    ram = answer.get("ram") if isinstance(answer, dict) else None
    parts = [f"recording: {'no migration yet' if status == 'none' else status}"]
    if isinstance(ram, dict) and "remaining" in ram:
        parts.append(f"iteration {ram.get('dirty-sync-count', 0)}, {bytes_words(float(ram['remaining']))} remaining")
    return f"{', '.join(parts)}; {answers} answers; Ctrl-C ends it"
