"""Installed plug-ins by kind and name, their versions, and the error that names one that fails."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from hostsim.core.ending import note_guest
from hostsim.core.errors import HostsimError

Kind = Literal["workload", "policy", "daemon"]
GROUPS: Mapping[Kind, str] = MappingProxyType(
    {"workload": "hostsim.workloads", "policy": "hostsim.policies", "daemon": "hostsim.daemons"}
)
"""Group of entry points of each kind of plug-in."""
ASK = "HOSTSIM_TRACEBACK"
"""A variable of the environment: set, an error of a plug-in comes with its traceback."""
HERE = "this program"
"""Stands for the distribution of a plug-in that ``use`` was given."""
PACKAGE = str(Path(__file__).parents[1])


class PluginError(HostsimError):
    """A plug-in cannot be loaded, raises an exception, or returns what hostsim cannot take."""


@dataclass(frozen=True)
class Plugin:
    """An installed plug-in: its kind, the name of its entry point, and the distribution that brings it."""

    kind: Kind
    name: str
    distribution: str
    version: str
    point: EntryPoint | None
    made: Any = None
    """The object itself, where ``use`` was given it."""

    @property
    def words(self) -> str:
        """``plug-in 'bursts' of my-plugin 1.2``."""
        return f"plug-in '{self.name}' of {self.distribution} {self.version}"

    def identity(self) -> dict[str, str]:
        """What provenance.json says of it; ``sha256``: over the sources of its top-level package, or of its object."""
        sources = _text_sha256(self.made) if self.point is None else _sources_sha256(self.point.module.partition(".")[0])
        return {
            "kind": self.kind, "name": self.name, "distribution": self.distribution, "version": self.version,
            "sha256": sources,
        }  # fmt: skip

    def load(self) -> Any:
        """The object that the entry point names. PluginError."""
        if self.point is None:
            return self.made
        note_guest(self.name)
        with self.guarded():
            return self.point.load()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Exceptions inside are the plug-in's: PluginError with its name, the exception and the line."""
        try:
            yield
        except (HostsimError, GeneratorExit):
            raise
        except Exception as error:
            raise PluginError(_failure_words(self, error)) from error

    def refuse(self, got: str, wanted: str) -> PluginError:
        """The PluginError for ``got``, which the plug-in returned or asked for; ``wanted``: a right value, in words."""
        return PluginError(f"{self.words} ({self.kind}): got {got}, wanted {wanted}")


def installed(kind: Kind) -> Mapping[str, Plugin]:
    """The plug-ins of ``kind`` by name, sorted: those of this program, and of every distribution that is installed."""
    return MappingProxyType(dict(sorted({**_installed(kind, tuple(sys.path)), **_OWN.get(kind, {})}.items())))


def use(kind: Kind, name: str, made: Any) -> None:
    """Let scenarios of this program name ``made``, which no distribution brings: for notebooks and scripts.

    kind: "workload", "policy" or "daemon".
    made: what the entry point of such a plug-in would name.
    """
    assert kind in GROUPS, f"a plug-in is one of {', '.join(GROUPS)}"
    _OWN.setdefault(kind, {})[name] = Plugin(kind, name, HERE, "0", None, made)


def find(kind: Kind, name: str) -> Plugin:
    """The plug-in of ``kind`` and ``name``. PluginError if it is not installed."""
    found = installed(kind).get(name)
    if found is None:
        raise PluginError(f"no {kind} '{name}' is installed; installed: {', '.join(installed(kind)) or 'none'}")
    return found


@lru_cache(maxsize=8)
def _installed(kind: Kind, path: tuple[str, ...]) -> Mapping[str, Plugin]:
    del path  # where distributions are looked for
    found: dict[str, Plugin] = {}
    for point in entry_points(group=GROUPS[kind]):
        about = point.dist
        name, version = (about.name, about.version) if about is not None else ("an unknown distribution", "0")
        found.setdefault(point.name, Plugin(kind, point.name, name, version, point))
    return MappingProxyType(dict(sorted(found.items())))


_OWN: dict[Kind, dict[str, Plugin]] = {}


def _text_sha256(made: Any) -> str:
    """Of its source; of its name where no source is known."""
    try:
        text = inspect.getsource(made)
    except (OSError, TypeError):
        text = repr(getattr(made, "__qualname__", type(made).__qualname__))
    return hashlib.sha256(text.encode()).hexdigest()


def _failure_words(plugin: Plugin, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((PACKAGE, "<frozen"))] or frames[-1:]
    text = f"{plugin.words} ({plugin.kind}) raised {type(error).__name__}: {error}"
    text += "".join(f", at {Path(frame.filename).name}:{frame.lineno}" for frame in own[-1:])
    if os.environ.get(ASK):
        return f"{text}\n{''.join(traceback.format_exception(error)).rstrip()}"
    return f"{text}; {ASK}=1 shows the traceback"


@lru_cache(maxsize=64)
def _sources_sha256(package: str) -> str:
    digest = hashlib.sha256()
    for path in _sources(_spec_of(package)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _spec_of(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except (ImportError, ValueError):
        return None


def _sources(spec: ModuleSpec | None) -> list[Path]:
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return sorted(path for folder in spec.submodule_search_locations for path in Path(folder).rglob("*.py"))
    return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []
