"""Write what a package brings for a shell, docs/man: the manual page, completions of bash, zsh, fish; ``--check`` compares.

The manual page is made from the help of every command, the completions are Typer's. setup.py installs them under share/.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from typer.testing import CliRunner  # noqa: E402

from hostsim import __version__  # noqa: E402  the package of this checkout
from hostsim.cli.main import build_app  # noqa: E402

FOLDER = ROOT / "docs" / "man"
COMPLETIONS = {"bash": "hostsim", "zsh": "_hostsim", "fish": "hostsim.fish"}
ENTRY = re.compile(r"^  (?P<what>\S.*?)(?:  +(?P<about>\S.*))?$")
USAGE = re.compile(r"^Usage: (?:.* )?hostsim ?(?P<rest>.*)$")
END = r"""
.SH EXIT STATUS
.TP
0
The command ran, whatever the verdict.
.TP
1
Asked for by an option such as \-\-fail\-if\-not\-converged.
.TP
2
Bad input, or nowhere to write. The message names file, key, what was found and what was wanted.
.TP
3
An invariant of the model broke: a defect of hostsim.
.TP
130
Interrupted.
.SH ENVIRONMENT
.TP
NUMBA_CACHE_DIR, XDG_CACHE_HOME
Where machine code is kept; ~/.cache/hostsim without them.
.TP
COLUMNS, NO_COLOR
Width of tables where standard output is no terminal; no colours.
"""


def help_of(command: str) -> str:
    """The help of ``hostsim COMMAND``, so wide that no line breaks at a hyphen: joined, it would have a space there."""
    found = CliRunner().invoke(build_app(), [*command.split(), "--help"], prog_name="hostsim", terminal_width=1 << 12)
    assert found.exit_code == 0, found.output
    return found.output


def sections(text: str) -> dict[str, list[str]]:
    """Lines of a help text by heading: Usage, Arguments, Options, Commands; "" for what the command does."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"(Arguments|Options|Commands):", line):
            heading = match[1]
            found[heading] = []
        elif line.startswith("Usage:"):
            found["Usage"] = [line]
        else:
            found[heading].append(line)
    return found


def entries(lines: list[str]) -> list[tuple[str, str]]:
    """(option or command, words about it), continued lines joined."""
    found: list[tuple[str, str]] = []
    for line in lines:
        match = ENTRY.match(line)
        if match and not line.startswith("   "):
            found.append((match["what"], match["about"] or ""))
        elif line.strip() and found:
            what, about = found[-1]
            found[-1] = (what, f"{about} {line.strip()}".strip())
    return found


def commands(prefix: str = "") -> Iterator[str]:
    """Every command, groups before their parts."""
    for name, _ in entries(sections(help_of(prefix)).get("Commands", [])):
        full = f"{prefix} {name}".strip()
        yield full
        yield from commands(full)


def roff(text: str) -> str:
    """``text`` as roff takes it literally."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def described(command: str) -> Iterator[str]:
    """The part of a command in the manual page."""
    parts = sections(help_of(command))
    usage = USAGE.match(parts["Usage"][0])
    assert usage is not None, parts["Usage"]
    yield f".SS hostsim {roff(usage['rest'])}"
    for paragraph in "\n".join(line.strip() for line in parts[""]).strip().split("\n\n"):
        yield from (".PP", roff(" ".join(paragraph.split())))
    for heading in ("Arguments", "Options"):
        for what, about in entries(parts.get(heading, [])):
            if not what.startswith("-h"):
                yield from (".TP", f".B {roff(what)}", roff(about))


def manual() -> str:
    """hostsim.1."""
    top = sections(help_of(""))
    about = " ".join(" ".join(top[""]).split())
    lines = [
        f'.TH HOSTSIM 1 "" "hostsim {__version__}" "User Commands"', ".SH NAME",
        r"hostsim \- simulate a virtualized host: guests dirty memory, QEMU migrates them, a verdict says why",
        ".SH SYNOPSIS", ".B hostsim", r"[\-\-version] [\-h] COMMAND [ARGUMENTS]", ".SH DESCRIPTION", roff(about),
        ".SH COMMANDS",
    ]  # fmt: skip
    return "\n".join([*lines, *(line for command in commands() for line in described(command))]) + END


def completion(shell: str) -> str:
    """The completion that Typer has for a shell."""
    asked = os.environ | {"_HOSTSIM_COMPLETE": f"source_{shell}"}
    command = [Path(sys.executable).with_name("hostsim")]
    found = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    return found.stdout.lstrip("\n")


def files() -> dict[str, str]:
    """Name and content of every file."""
    return {"hostsim.1": manual()} | {name: completion(shell) for shell, name in COMPLETIONS.items()}


def main() -> int:
    """Write or compare; returns the exit code."""
    found = files()
    if "--check" not in sys.argv[1:]:
        FOLDER.mkdir(exist_ok=True)
        for name, text in found.items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        return 0
    kept = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    stale = [name for name, text in found.items() if kept.get(name) != text]
    for name in stale:
        print(f"docs/man/{name} is out of date; run: python docs/tools/write_man.py")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
