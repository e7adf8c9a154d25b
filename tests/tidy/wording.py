"""Words that the text of the project does not use: unfinished work, places on one machine, how it came about, no actor."""

from __future__ import annotations

import re

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|TBD)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|home|root|Users|tmp/\w+)/")
OUT_OF_TREE = re.compile(r"\.\./shared\b|(?<![\w.])shared/(data|facts|design|style)")
HOW_IT_CAME = re.compile(
    r"\b(as (requested|asked)|the (lead|brief|task) (says|wants|writes|asks))\b"
    r"|(?<!QEMU )\bissue #?\d+\b|(?<!\")\bsessions?\b|\bprompts?\b",
    re.IGNORECASE,
)
NO_ACTOR = re.compile(r"\b(nobody|(gives?|gave|giving) way)\b")

RULES = (
    (UNFINISHED, "unfinished work: finish it, or describe the limit with '# Model limit:'"),
    (MACHINE_PATH, "a path of one machine: take it from the command line or relative to the checkout"),
    (OUT_OF_TREE, "something outside the checkout: carry the data into tests/data or hostsim/data"),
    (HOW_IT_CAME, "how the text came about: say what the program does and why"),
    (NO_ACTOR, "a word for no actor, or no word of the kernel: name the thread, vCPU or process; a thread yields the lock"),
)

# The rules' own patterns, and samples that break them.
OWN_FILES = ("tests/tidy/wording.py", "tests/tidy/test_wording.py")


def wording_problems(path: str, text: str) -> list[str]:
    """Lines of ``text`` that break a rule."""
    lines = enumerate(text.splitlines(), 1)
    return [
        f"{path}:{number}: {match.group(0)!r} is {why}"
        for number, line in lines
        for pattern, why in RULES
        if (match := pattern.search(line))
    ]
