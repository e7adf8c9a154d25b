"""Record the pages a program touches, by valgrind's lackey; how the trace in tests/data/traces was made.

    python -m tests.helpers.record_lackey OUT.gz -- COMMAND...

Keeps lackey's lines as they are, but only those of data accesses that reach a page other than the one before.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

LACKEY = ("valgrind", "--tool=lackey", "--trace-mem=yes", "--log-file=/dev/stderr")
ACCESS = re.compile(rb" [LSM] ([0-9a-f]+),([0-9]+)\n")


def other_pages(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Accesses that do not lie whole within the page that the one before ended in."""
    last = -1
    for line in lines:
        if match := ACCESS.fullmatch(line):
            address, size = int(match[1], 16), int(match[2])
            first, end = address >> 12, (address + size - 1) >> 12
            if (first, end) != (last, last):
                yield line
            last = end


def main(out: str, command: list[str]) -> int:
    """Run ``command`` under lackey and write the kept lines to ``out``, gzipped."""
    with (
        subprocess.Popen([*LACKEY, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process,
        Path(out).open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as file,
    ):
        assert process.stderr
        file.writelines(other_pages(process.stderr))
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[3:]))
