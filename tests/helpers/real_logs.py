"""Real logs of migrations, as files in the forms that hostsim reads."""

from __future__ import annotations

from pathlib import Path

from hostsim.validation.fit.logs import postgres_text, qemu_text


def qemu_log(case_id: str, folder: Path) -> Path:
    """The polled repeat of a case as lines of query-migrate."""
    path = folder / f"{case_id}.jsonl"
    path.write_text(qemu_text(case_id))
    return path


def postgres_log(name: str, folder: Path) -> Path:
    """A run of the PostgreSQL guest, as it was polled."""
    path = folder / f"{name}.jsonl"
    path.write_text(postgres_text(name))
    return path
