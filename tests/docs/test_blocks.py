"""Every code block of the documentation runs and prints what it shows."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks_of, commands, pages, parse, shows
from tests.docs.runner import PageRunner, check_make_targets

KNOWN_LANGUAGES = {"console", "python", "toml", "csv", "json", "text", "yaml"}
WITH_BLOCKS = [page for page in pages() if blocks_of(page)]


def pages_with(later: str) -> pytest.MarkDecorator:
    """The pages that have a block which the tier ``later`` runs."""
    found = [page for page in WITH_BLOCKS if any(block.later == later for block in blocks_of(page))]
    return pytest.mark.parametrize("page", found, ids=lambda page: str(page.relative_to(ROOT)))


def languages_run(page: Path, folder: Path, tiers: tuple[str, ...]) -> set[str]:
    """Run the blocks of ``page`` in order, but those that another tier runs; the languages of those that ran."""
    runner = PageRunner(folder)
    ran = [block for block in blocks_of(page) if block.later in tiers]
    for block in ran:
        runner.run(block)
    return {block.language for block in ran}


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """All but those of many runs, which have a note that says so."""
    assert languages_run(page, tmp_path, ("",)) <= KNOWN_LANGUAGES


@pytest.mark.long
@pages_with("long")
def test_long_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    assert languages_run(page, tmp_path, ("", "long"))


@pytest.mark.swarm
@pages_with("swarm")
def test_all_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    assert languages_run(page, tmp_path, ("", "long", "swarm"))


def test_console_blocks_outside_hostsim_say_why() -> None:
    console = [b for page in pages() for b in blocks_of(page) if b.language == "console" and not b.not_run]
    programs = {shlex.split(command.line)[0] for block in console for command in commands(block)}
    assert programs <= {"hostsim", "make"}


def test_parse_reads_language_notes_and_indentation() -> None:
    shown = "   ```console\n   $ hostsim run \\\n     a.toml\n   error: ...\n   ```\n"
    text = f"1. x\n\n   <!-- exits 2 -->\n{shown}"
    (block,) = parse("page.md", text)
    assert (block.language, block.exits, block.line) == ("console", 2, 4)
    (command,) = commands(block)
    assert command.line.split() == ["hostsim", "run", "a.toml"]
    assert command.shown == ("error: ...",)


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        (("a", "b"), "a\nb\n", True),
        (("a",), "a\nb\n", False),
        (("a", "..."), "a\nb\nc\n", True),
        (("...", "c"), "a\nb\nc\n", True),
        (("a", "...", "c"), "a\nc", True),
        (("took ... s",), "took 1.5 s  ", True),
        (("took ... s",), "took 1.5 ms\n", False),
        (("[a] (b)",), "[a] (b)", True),
    ],
)
def test_shown_lines_match_with_dots_as_wildcard(shown: tuple[str, ...], output: str, same: bool) -> None:
    assert shows(shown, output) is same


def test_an_unknown_make_target_is_found() -> None:
    block = Block("page.md", 1, "console", "$ make nothing\n")
    with pytest.raises(AssertionError, match="no target nothing"):
        check_make_targets(block, ["nothing"])
