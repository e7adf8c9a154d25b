"""Trace events, named as QEMU's: silent unless switched on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


def enable(level: int = logging.DEBUG) -> None:
    """Print trace events from ``level`` on as JSON lines on stderr."""
    import structlog

    structlog.configure(
        processors=[structlog.processors.JSONRenderer(sort_keys=True)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class _Mute:
    """Takes events and drops them."""

    def debug(self, event: str, **fields: Any) -> None:
        """Drop the event."""


_MUTE = _Mute()
_muted: ContextVar[bool] = ContextVar("muted", default=False)


@contextmanager
def muted() -> Iterator[None]:
    """Drop all trace events inside the context, for a run beside the traced run."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


def tracer() -> Any:  # structlog's proxy is typed Any
    """The logger of hostsim's trace events; silent before ``enable`` (or another structlog.configure).

    A process that has not imported structlog has not configured it, either: it need not be imported to be silent.
    """
    structlog = sys.modules.get("structlog")
    if _muted.get() or structlog is None or not structlog.is_configured():
        return _MUTE
    return structlog.get_logger("hostsim")
