"""Writing a folder so that no file is ever half there: aside first, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hostsim.core.errors import OutputError


def check_folder(out: Path) -> None:
    """OutputError if ``out`` cannot be made or written to; nothing is left behind."""
    with _as_output_error(out):
        _refuse_non_folder(out)
        with _new_parents(out, keep=False), _aside(out):
            return


def check_file(path: Path) -> None:
    """OutputError if the file ``path`` cannot be made or replaced; nothing is left behind."""
    with _as_output_error(path):
        _refuse_folders_in_place(path.parent, [path.name])
    check_folder(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Write ``content`` to the file ``path``, whole or not at all. OutputError."""
    write_files(path.parent, {path.name: content})


def write_files(out: Path, files: Mapping[str, bytes], stale: re.Pattern[str] | None = None) -> list[Path]:
    """Write ``files`` (name to content) to the folder ``out``, all or none: on OutputError ``out`` is as it was.

    A new folder appears whole; in an existing folder each file is replaced atomically, and a file that was not written
    now and whose whole name matches ``stale`` is removed.
    """
    with _as_output_error(out):
        _refuse_non_folder(out)
        with _new_parents(out, keep=True), _aside(out) as aside:
            for name, content in files.items():
                _write(aside / name, content)
            _sync_folder(aside)
            _move(aside, out, list(files), stale)
    return [out / name for name in files]


def _move(aside: Path, out: Path, names: list[str], stale: re.Pattern[str] | None) -> None:
    if not out.exists():
        aside.chmod(0o777 & ~_umask())
        aside.rename(out)
        _sync_folder(out.parent)
        return
    _refuse_folders_in_place(out, names)
    for name in names:
        (aside / name).replace(out / name)
    for path in [path for path in out.iterdir() if stale and stale.fullmatch(path.name) and path.name not in names]:
        path.unlink()
    _sync_folder(out)


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    """A fresh folder, gone afterwards, in or beside ``out``: one file system, so that a rename is atomic."""
    home = out if out.is_dir() else out.absolute().parent
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=home))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _new_parents(out: Path, *, keep: bool) -> Iterator[None]:
    """Makes the folders above ``out``; those it made go again if the body fails, or unless ``keep``."""
    made = [folder for folder in out.absolute().parents if not folder.exists()]
    done = False
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        yield
        done = True
    finally:
        for folder in [] if done and keep else made:
            _remove_if_empty(folder)


@contextmanager
def _as_output_error(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = out if error.filename is None else _outside(Path(os.fsdecode(error.filename)), out)
        raise OutputError(f"{where}: cannot write: {error.strerror or error}") from error


def _outside(path: Path, out: Path) -> Path:
    """``path``, or ``out`` for a path in the folder aside: the user knows only ``out``."""
    return out if ".part" in path.name or path.parent.name.endswith(".part") else path


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make names durable too, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _refuse_non_folder(out: Path) -> None:
    """Neither ``out`` nor a folder above it may be something else than a folder."""
    for path in (out, *out.absolute().parents):
        if os.path.lexists(path) and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(path))


def _refuse_folders_in_place(out: Path, names: list[str]) -> None:
    for path in (out / name for name in names):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder stands where the file should go", str(path))


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # not made, or another program has put a file there
        return


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
