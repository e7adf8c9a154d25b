"""Pages about a live QEMU: a recorded QEMU answers their commands, which print what the pages show."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostsim.logs.growing import GrowingLog
from hostsim.report.watch_view import Watched, screen_lines
from hostsim.verdict.outlook import outlook
from tests.docs.blocks import ROOT, Block, blocks_of, commands, shows
from tests.helpers.command import environment, merged
from tests.helpers.fake_qmp import Monitor

RECORD, WATCH = ROOT / "docs" / "howto" / "record-a-live-migration.md", ROOT / "docs" / "howto" / "watch.md"
RECORDING = ROOT / "tests" / "data" / "live" / "limit_too_low.jsonl"
"""A real migration by QEMU 7.2 under software emulation, as `hostsim record` wrote it, with the fields that are read."""
SOCKET, SCREEN = "/run/vm.qmp", re.compile(r"<!-- the screen after (\d+) records -->")
FASTER = {"--interval 500ms": "--interval 10ms", SOCKET: "vm.qmp"}


def recorded() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RECORDING.read_text().splitlines()]


class Replay:
    """A QEMU that answers as the recorded one did: each answer of query-migrate once, others as they were by then."""

    def __init__(self) -> None:
        self._left, self._known = recorded(), dict[str, Any]()

    def __call__(self, name: str, _given: dict[str, Any]) -> list[dict[str, Any]]:
        if name == "query-migrate":
            self._go_on()
        elif name not in self._known:
            self._known |= {one["execute"]: one["return"] for one in reversed(self._left) if one.get("execute") == name}
        return [{"return": self._known[name]}]

    def _go_on(self) -> None:
        while self._left:
            one = self._left.pop(0)
            if "execute" in one:
                self._known[one["execute"]] = one["return"]
            if one.get("execute") == "query-migrate":
                return


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    served = Monitor(tmp_path / "vm.qmp", Replay())
    yield tmp_path
    served.close()


def of_qemu(page: Path) -> list[Block]:
    """Blocks that no test of all pages runs, for want of a QEMU."""
    return [block for block in blocks_of(page) if block.not_run.endswith("a running QEMU")]


@pytest.mark.parametrize("page", [RECORD, WATCH], ids=lambda page: page.stem)
def test_commands_print_what_the_page_shows(page: Path, folder: Path) -> None:
    found = [command for block in of_qemu(page) for command in commands(block)]
    assert found
    for command in found:
        line = command.line
        for slow, fast in FASTER.items():
            line = line.replace(slow, fast)
        line += " --interval 10ms" if "watch" in line else ""
        if "explain" in line:  # the recorded times, not those of the replay
            (folder / "out" / "migration.jsonl").write_bytes(RECORDING.read_bytes())
        code, printed = merged(shlex.split(line)[1:], folder, environment())
        assert (code, shows(command.shown, printed)) == (0, True), printed


def test_the_screen_of_the_page_is_drawn_today() -> None:
    (n,) = map(int, SCREEN.findall(WATCH.read_text()))
    log = GrowingLog("recorded")
    for record in recorded()[:n]:
        log.take(record)
    seen = Watched(f"QEMU 7.2.22, VM small, {SOCKET}", log=log.log(), outlook=outlook(log.log()))
    drawn = "".join(f"{line.rstrip()}\n" for line in screen_lines(seen, 80, 23))
    assert drawn in [block.text for block in blocks_of(WATCH) if block.language == "text"]


def test_lines_of_the_record_are_lines_of_the_record() -> None:
    (shown,) = [block.text for block in blocks_of(RECORD) if block.language == "json"]
    assert set(shown.splitlines()) <= set(RECORDING.read_text().splitlines())
