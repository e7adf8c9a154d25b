"""Trace events, named as QEMU's: silent unless switched on."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def enable(level: int = logging.DEBUG) -> None:
    """Print trace events from ``level`` on as JSON lines on stderr."""
    structlog.configure(
        processors=[structlog.processors.JSONRenderer(sort_keys=True)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def tracer() -> Any:  # structlog's proxy is typed Any
    """The logger of hostsim's trace events; nothing is printed before ``enable`` (or one's own structlog.configure)."""
    if not structlog.is_configured():
        enable(logging.CRITICAL)
    return structlog.get_logger("hostsim")
