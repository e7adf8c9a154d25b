"""Machine code on disk: the folder, a file for each compiled function, and the reason if no file can be kept.

The name of a folder is a digest of all sources of its code. numba itself checks only the file of a function, and would
keep code into which an older version of another file was compiled. A file holds one function for one signature, behind a
digest, so that a file truncated by a crash or a full disk is compiled again. Without a writable folder a program compiles at
every start, with equal results.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hostsim.compiled.lighter import lighten
from hostsim.compiled.scipy_later import spare_scipy

PACKAGE = Path(__file__).parent.parent
COMPILED = (
    "compiled/*.py", "core/*.py", "costs/*.py", "guest/*.py", "spte_index/*.py", "kvm/loops/*.py", "memory/policies/*.py",
    "qemu/channels.py", "qemu/connections.py", "qemu/faults.py", "qemu/quick_write.py", "qemu/harvest.py", "qemu/send.py",
    "qemu/tcp*.py", "qemu/*_send.py", "qemu/*_delta.py", "qemu/*/*.py", "theory/replacement.py",
    "measure/calibrate/memory_probe.py", "scenario/lackey_loops.py",
)  # fmt: skip
"""Files of the package whose functions and constants are compiled into each other; tests/tidy/test_machine_code.py walks
the imports and reports a file that is missing here.
"""
RECORDS = "mechanisms"
"""Folders of records, from which nothing is compiled."""
SUFFIX = ".code"
DIGEST_BYTES = hashlib.sha256().digest_size

_trouble: list[str] = []
"""Why code is not kept: the first reason."""


def compiled_files() -> list[Path]:
    """All compiled sources, sorted."""
    return sorted(path for pattern in COMPILED for path in PACKAGE.glob(pattern) if path.parent.name != RECORDS)


def sources_digest() -> str:
    """16 hex digits for the content of all compiled sources."""
    digest = hashlib.sha256()
    for path in compiled_files():
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_root() -> Path | None:
    """The folder of all versions: NUMBA_CACHE_DIR, else hostsim in the user's cache folder; None without a home."""
    given, home = os.environ.get("NUMBA_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given)
    try:
        return (Path(home) if home else Path("~/.cache").expanduser()) / "hostsim"
    except RuntimeError:  # the user has no home folder
        return None


@cache
def cache_folder() -> Path | None:
    """The folder for this version's machine code, which may not exist yet; None without a home directory."""
    root = cache_root()
    return None if root is None else root / sources_digest()


def code_files() -> list[Path]:
    """The files of this version's machine code, sorted."""
    folder = cache_folder()
    return [] if folder is None else sorted(folder.glob(f"*{SUFFIX}"))


def folder_bytes() -> int:
    """Bytes of this version's machine code on disk."""
    total = 0
    for path in code_files():
        with suppress(OSError):  # another process has just replaced it
            total += path.stat().st_size
    return total


def trouble() -> str:
    """The reason for which machine code was not kept in this process; "" if all machine code was kept."""
    return _trouble[0] if _trouble else ""


def is_kept(name: str) -> bool:
    """Whether code of a function called ``name``, with its module or without, is on disk."""
    folder = cache_folder()
    return folder is not None and any(any(folder.glob(f"{before}{name}.*{SUFFIX}")) for before in ("*.", ""))


class CodeFiles:
    """The files of one function, in the place of the cache of a numba dispatcher (``numba.core.caching._Cache``)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._is_enabled = True

    @property
    def cache_path(self) -> str:
        """The folder, "" if there is none."""
        return str(cache_folder() or "")

    def enable(self) -> None:
        """Read and write from now on."""
        self._is_enabled = True

    def disable(self) -> None:
        """Neither read nor write from now on."""
        self._is_enabled = False

    def flush(self) -> None:
        """Forget the code of all signatures."""
        folder = cache_folder()
        for path in folder.glob(f"{self._stem()}.*{SUFFIX}") if folder is not None else ():
            with suppress(OSError):
                path.unlink()

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled function for ``signature``, None if it is not there or not whole.

        Machine code asks nothing of numba's registries of functions, so they are left until a function is compiled: 0.2 of
        the 3 s of CPU of a warm run.
        """
        path = self._path(signature, target.codegen())
        if path is None or not self._is_enabled:
            _before_compiling()
            return None
        with suppress(Exception):  # unpickling an unknown file may raise any error: the function is compiled again
            if (found := _rebuilt(path.read_bytes(), target)) is not None:
                return found
        _before_compiling()
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep ``compiled``; where that fails the reason is noted once, and no more is written."""
        path = self._path(signature, compiled.codegen)
        if _trouble or path is None or not self._is_enabled or compiled.library.has_dynamic_globals:
            _note_homeless(path)
            return
        try:
            _write(path, _packed(compiled))
        except OSError as error:
            _trouble.append(f"{path.parent}: {error.strerror or 'cannot be written'}")

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        folder = cache_folder()
        if folder is None:
            return None
        import numba

        bytecode = hashlib.sha256(self._function.__code__.co_code).hexdigest()
        key = (str(signature), codegen.magic_tuple(), bytecode, numba.__version__, sys.version)
        return folder / f"{self._stem()}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}{SUFFIX}"

    def _stem(self) -> str:
        return f"{self._function.__module__}.{self._function.__name__}"


def _before_compiling() -> None:
    from hostsim.compiled.arithmetic import define_arithmetic  # it imports numba, which no help needs

    spare_scipy()
    lighten()
    define_arithmetic()


def _note_homeless(path: Path | None) -> None:
    if path is None and not _trouble:
        _trouble.append("there is no home folder, and neither XDG_CACHE_HOME nor NUMBA_CACHE_DIR is set")


def _packed(compiled: Any) -> bytes:
    from numba.core import serialize

    module: Any = serialize
    (name, kind, (machine_code, _)), *rest = compiled._reduce()  # noqa: SLF001  # as numba.core.caching.CompileResultCacheImpl
    content: bytes = module.dumps(((name, kind, (machine_code, _symbols(compiled.fndesc))), *rest))
    return hashlib.sha256(content).digest() + content


def _symbols(described: Any) -> bytes:
    """LLVM's code of a module that has the names of a function, and no more: numba reads from it the names in machine code.

    numba keeps the whole code of the function, for functions that link it into theirs. Those of hostsim link a part instead
    (``hostsim.compiled.jit._called``). Measured: 0.04 of the 2.7 s of a warm run went into reading the code of 15 functions.
    """
    import llvmlite.binding  # type: ignore[import-untyped]

    names = (described.llvm_func_name, described.llvm_cpython_wrapper_name)
    bodies = (f'define void @"{name}"() {{ call void @llvm.trap() unreachable }}' for name in names)
    code: bytes = llvmlite.binding.parse_assembly("\n".join(["declare void @llvm.trap()", *bodies])).as_bitcode()
    return code


def _rebuilt(content: bytes, target: Any) -> Any:
    import pickle

    from numba.core import compiler

    digest, packed = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(packed).digest() != digest:
        return None
    result: Any = compiler.CompileResult
    return result._rebuild(target, *pickle.loads(packed))  # noqa: S301, SLF001  # the user's own folder


def _write(path: Path, content: bytes) -> None:
    """The whole file or none: other processes read meanwhile. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(aside).replace(path)
    except OSError:
        with suppress(OSError):
            Path(aside).unlink()
        raise
