"""Write what the commands on the pages print today under them; ``...`` keeps standing for the lines left out.

A command whose output is not shown stays without. A shown line with ``...`` inside is left as it is.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.docs.blocks import Block, blocks_of, commands, pages  # noqa: E402  the tests know how a page is read
from tests.docs.runner import HOSTSIM, PLAIN, PageRunner  # noqa: E402

DOTS = "..."


def output_of(line: str, folder: Path) -> list[str]:
    """Lines that the hostsim command ``line`` prints."""
    _, *arguments = shlex.split(line)
    done = subprocess.run(
        [str(HOSTSIM), *arguments], cwd=folder, env=os.environ | PLAIN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    return [text.rstrip() for text in done.stdout.strip("\n").rstrip().splitlines()]


def refreshed(shown: tuple[str, ...], printed: list[str]) -> list[str]:
    """``printed``, cut as ``shown`` is: as many lines before its first and after its last ``...``."""
    if any(DOTS in line and line.strip() != DOTS for line in shown):
        return list(shown)
    cuts = [i for i, line in enumerate(shown) if line.strip() == DOTS]
    if not cuts:
        return printed
    tail = len(shown) - 1 - cuts[-1]
    return [*printed[: cuts[0]], DOTS, *(printed[-tail:] if tail else [])]


def block_text(block: Block, runner: PageRunner) -> str:
    """The block's lines with today's output."""
    lines: list[str] = []
    for command in commands(block):
        lines.append(f"$ {command.line}")
        if command.shown and command.line.startswith("hostsim "):
            lines += refreshed(command.shown, output_of(command.line, runner.folder))
        else:
            runner.run(Block(block.page, block.line, "console", f"$ {command.line}\n", exits=block.exits))
            lines += command.shown
    return "".join(f"{line}\n" for line in lines)


def refresh(page: Path, folder: Path) -> bool:
    """Write ``page`` anew; True if that changed it."""
    text = before = page.read_text(encoding="utf-8")
    runner = PageRunner(folder)
    for block in blocks_of(page):
        if block.language == "console" and not block.not_run and "\\\n" not in block.text:
            text = text.replace(f"```console\n{block.text}```", f"```console\n{block_text(block, runner)}```", 1)
        else:
            runner.run(block)
    page.write_text(text, encoding="utf-8")
    return text != before


def main(names: list[str]) -> int:
    """Refresh the pages ``names``, all without."""
    for page in [Path(name).resolve() for name in names] or pages():
        with tempfile.TemporaryDirectory() as folder:
            if refresh(page, Path(folder)):
                print(f"{page.relative_to(ROOT)} has changed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
