"""A command ends its process at once; what a user's code has left open is written first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import environment, installed

PROGRAM = """\
import atexit, sys
from hostsim.core import ending

class Freed:
    def __del__(self):
        sys.stderr.write("freed")

kept = Freed()
ending.end_quickly()
atexit.register(print, "registered")
print("printed")
{more}
"""


def end_of(more: str) -> tuple[int, str, str]:
    code = [sys.executable, "-c", PROGRAM.format(more=more)]
    done = subprocess.run(code, capture_output=True, text=True, env=environment(), check=False)
    return done.returncode, done.stdout, done.stderr


def test_output_and_registered_functions_come_before_the_end() -> None:
    assert end_of("ending.note_code(3)") == (3, "printed\nregistered\n", "")


MEASURED = """
from types import SimpleNamespace
sys.modules["coverage"] = SimpleNamespace(Coverage=SimpleNamespace(current=lambda: True))
ending.note_code(0)
"""


@pytest.mark.parametrize("more", ["ending.note_code(0); ending.note_guest('bursts')", "", MEASURED])
def test_the_interpreter_ends_what_it_must(more: str) -> None:
    assert end_of(more) == (0, "printed\nregistered\n", "freed")


def test_a_closed_output_is_left_to_the_interpreter() -> None:
    code, _, err = end_of("ending.note_code(0); sys.stdout.close(); sys.stdout = sys.stderr; sys.stderr.close()")
    assert (code, err) == (0, "")


def test_a_file_that_a_script_leaves_open_is_written(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("file = open('left.txt', 'w')\nfile.write('all of it')\n")
    done = installed("run", "leaves.py", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "left.txt").read_text() == "all of it"
