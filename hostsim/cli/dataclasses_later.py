"""Methods of hostsim's dataclasses written at their first call: of most classes a command never calls them.

``dataclass`` writes six methods of a frozen class as texts and compiles each, from Python 3.13 on all in one. Measured with
3.11: 0.17 of the 2.4 s of CPU of a warm run, for 265 classes. Classes of other packages are made as ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

OURS = "hostsim."
CREATE = "_create_fn"
"""The function of Python 3.11 and 3.12 that compiles a method, private to Python; later versions have another."""


def write_later() -> None:
    """For classes that are made from now on; where Python has no such function nothing changes."""
    create: Any = getattr(dataclasses, CREATE, None)
    if create is not None and not hasattr(create, "whole"):
        setattr(dataclasses, CREATE, _later(create))


def _later(create: Callable[..., Any]) -> Any:
    def later(name: str, *text: Any, **names: Any) -> Any:
        if not str((names.get("globals") or {}).get("__name__", "")).startswith(OURS):
            return create(name, *text, **names)
        return _method(name, lambda: create(name, *text, **names))

    later.whole = create  # type: ignore[attr-defined]
    return later


def _method(name: str, create: Callable[[], Any]) -> Any:
    def method(self: Any, *more: Any, **named: Any) -> Any:
        written = create()
        written.__qualname__ = method.__qualname__  # which dataclass has set
        for one in type(self).__mro__:
            if vars(one).get(name) is method:
                setattr(one, name, written)
        return written(self, *more, **named)

    method.__name__ = name
    return method
