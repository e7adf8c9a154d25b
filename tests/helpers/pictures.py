"""Pictures that a test does not look at are not drawn: half a second of a processor each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from hostsim.report import drawing


@contextmanager
def undrawn() -> Iterator[None]:
    """Within it each picture is a line of text; its files are written as ever."""

    def not_drawn(_draw: Callable[[], Any]) -> None:
        return None

    def words(_figure: Any, kind: str, _metadata: Mapping[str, Any], _dpi: int = 130) -> bytes:
        return f"not drawn: {kind}\n".encode()

    with mock.patch.multiple(drawing, drawn=not_drawn, saved=words):
        yield
