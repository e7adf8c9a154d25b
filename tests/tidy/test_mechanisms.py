"""How far a mechanism of migration is spread: its own files, and others that name it."""

from __future__ import annotations

import pytest

from hostsim.study.compare.modes import MODES, TIMED
from tests.tidy.mechanisms import SPREADS, Spread, namers
from tests.tidy.source import package_sources, source_of


@pytest.mark.parametrize("spread", SPREADS, ids=lambda spread: spread.name)
def test_a_mechanism_is_named_by_no_more_files_than_today(spread: Spread) -> None:
    strangers = [path for path in namers(spread.named, package_sources()) if not spread.owns(path)]
    assert len(strangers) <= spread.most, (
        f"{len(strangers)} files name {spread.name} beside its own, at most {spread.most}: let them go through the records "
        f"(hostsim/*/mechanism.py): {', '.join(strangers)}"
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import hostsim.qemu.lull", True), ("x = p.lull", True), ("def f(lull): ...", True), ('x = "lull on"', True),
        ('"""A lull."""', False), ("x = 1  # a lull", False),
    ],
)  # fmt: skip
def test_code_names_a_mechanism_and_prose_does_not(text: str, names: bool) -> None:
    assert bool(namers("lull", (source_of(text),))) is names


def test_the_help_lists_every_mode() -> None:
    from hostsim.cli.options import EVERY_MODE

    listed, _, at = EVERY_MODE.partition("; ")
    assert listed.split(", ") == list(MODES), "python docs/tools/write_modes.py"
    assert at.partition("@")[0] in TIMED
