"""Files that users bring: regular ones, of a size that fits their kind, as text or as TOML; other files raise InputError."""

from __future__ import annotations

import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hostsim.core.errors import InputError, Problem

BOM = b"\xef\xbb\xbf"
WIDE_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
STANDARD_INPUT = "-"
DEPTH_MAX = 32
"""Tables inside tables; a scenario has 4."""
DIGITS_MAX = 100
"""Digits of a whole number; the largest number that hostsim accepts has 20."""
_STRINGS = r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|#[^\n]*'
_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DEEP = re.compile(rf"(?s:{_STRINGS})|(?P<deep>{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEPTH_MAX},}}+)|{_PART}")
"""A dotted key that is too deep. tomllib takes the square of its length, and a recursion each for its parts."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: its description, an example of its content, and its largest size [bytes]."""

    wanted: str
    example: str
    bytes_max: int


SCENARIO = Kind("a readable scenario file (TOML)", "precopy_convergence, or another that `hostsim scenarios` lists", 4 << 20)
STUDY = Kind("a readable study file (TOML)", 'scenario = "precopy_convergence.toml"', 4 << 20)
_CALIBRATED = "cascade-lake, or my-host.toml as `hostsim calibrate --out my-host.toml` writes it"
SHEET = Kind("a cost sheet (TOML)", _CALIBRATED, 1 << 20)
SCRIPT = Kind("a readable script", "scenarios/sweep_downtime.py", 4 << 20)
TRACE = Kind("a readable CSV of time,vcpu,gfn,rw", "1500000,0,1024,w", 1 << 30)
LACKEY = Kind("a readable trace of valgrind's lackey", " L 1fff000d08,8", 64 << 30)
LOG = Kind("a readable log of a migration", "grep -i migration LOG > part.log", 32 << 20)
"""Larger logs are to be cut first: reading one of this size takes some seconds."""
CASES = Kind("a readable .jsonl or .jsonl.gz of cases", "hostsim validate --cases my-cases.jsonl", 256 << 20)


def open_file(path: str | Path, kind: Kind) -> BinaryIO:
    """The file at ``path`` to read bytes from. InputError for devices, pipes, folders, and files that are too large."""
    if problem := _not_a_file(path, kind):
        raise InputError([problem])
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        raise InputError([_problem(path, reason_of(error), kind)]) from None


def read_bytes(path: str | Path, kind: Kind) -> bytes:
    """The content of the file at ``path``. InputError as ``open_file``."""
    try:
        with open_file(path, kind) as file:
            content = file.read(kind.bytes_max + 1)
    except OSError as error:
        raise InputError([_problem(path, reason_of(error), kind)]) from None
    if len(content) > kind.bytes_max:  # files of /proc have no size
        raise InputError([_too_large(path, f"more than {_size(kind.bytes_max)}", kind)])
    return content


def read_text(path: str | Path, kind: Kind) -> str:
    """The file at ``path`` as text in UTF-8, with a byte order mark or without. InputError for any other content."""
    return as_text(read_bytes(path, kind), str(path), kind)


def as_text(content: bytes, name: str, kind: Kind) -> str:
    """``content`` of the file called ``name`` as text in UTF-8. InputError as ``read_text``."""
    if reason := _no_text(content):
        raise InputError([Problem(name, "file", reason, f"{kind.wanted}, in UTF-8", kind.example)])
    return content.decode("utf-8-sig")


def read_toml(path: str | Path, kind: Kind, example: str = "") -> dict[str, Any]:
    """The table in the TOML file at ``path``; ``example``: of its content. InputError names the problem of the file."""
    text = read_text(path, kind).replace("\r\n", "\n")
    reason = _too_deep(text)
    table: dict[str, Any] = {}
    if not reason:
        try:
            table = tomllib.loads(text)
            reason = beyond_measure(table)
        except tomllib.TOMLDecodeError as error:
            reason = str(error)[:200]
        except RecursionError:
            reason = "nested too deeply"
        except ValueError:  # a number with more digits than Python reads
            reason = f"a number of more than {DIGITS_MAX} digits"
    if reason:
        raise InputError([Problem(str(path), "file", f"broken TOML: {reason}", kind.wanted, example or kind.example)])
    return table


def beyond_measure(value: Any) -> str:
    """The property of ``value`` (tables and arrays of TOML or JSON) that exceeds a limit: depth or a number; "" if none."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            return f"tables or arrays nested more than {DEPTH_MAX} deep"
        if any(type(one) is int and one.bit_length() > DIGITS_MAX * 10 // 3 for one in level):
            return f"a number of more than {DIGITS_MAX} digits"
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [part for parts in inner for part in parts]
    return ""


def reason_of(error: Exception) -> str:
    """The system's reason for which a file cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "a name that no file can have" if isinstance(error, ValueError) else "not readable"


def _too_deep(text: str) -> str:
    deep = next((found for found in _DEEP.finditer(text) if found["deep"]), None)
    if deep is None:
        return ""
    return f"a key of more than {DEPTH_MAX} parts (at line {text.count(chr(10), 0, deep.start()) + 1})"


def _not_a_file(path: str | Path, kind: Kind) -> Problem | None:
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        if str(path) == STANDARD_INPUT:
            wanted = f"{kind.wanted}: only `hostsim explain` reads standard input"
            return Problem(str(path), "file", "standard input", wanted, kind.example)
        return _problem(path, reason_of(error), kind)
    if not stat.S_ISREG(status.st_mode):
        return _problem(path, _sort(status.st_mode), kind)
    if status.st_size > kind.bytes_max:
        return _too_large(path, _size(status.st_size), kind)
    return None


def _sort(mode: int) -> str:
    sorts = {stat.S_ISDIR: "a directory", stat.S_ISFIFO: "a pipe, which may never end", stat.S_ISSOCK: "a socket"}
    return next((words for is_one, words in sorts.items() if is_one(mode)), "a device")


def _problem(path: str | Path, got: str, kind: Kind) -> Problem:
    return Problem(str(path), "file", got, kind.wanted, kind.example)


def _too_large(path: str | Path, got: str, kind: Kind) -> Problem:
    return Problem(str(path), "file", got, f"{kind.wanted}, at most {_size(kind.bytes_max)}", kind.example)


def _size(n_bytes: int) -> str:
    return f"{n_bytes >> 20} MiB" if n_bytes < 1 << 30 else f"{n_bytes / (1 << 30):.3g} GiB"


def _no_text(content: bytes) -> str:
    """The reason for which ``content`` is no text in UTF-8; "" if it is UTF-8."""
    wide = WIDE_BOMS.get(content[:2])
    if wide:
        return f"{wide} (its first two bytes say so)"
    if b"\0" in content:
        return f"a NUL byte (at byte {content.index(0)})"
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"bytes that are not UTF-8 (at byte {error.start})"
    return ""
