"""Compiled functions as plain Python, for callers that call a few lines a few times: compiling them takes 0.04 s each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def plain(function: F) -> F:
    """``function`` without the compiler; the function calls no ``part``, which Python cannot call."""
    return getattr(function, "py_func", function)
