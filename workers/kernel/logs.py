"""Structured logs: an event name and fields, JSON for machines and aligned text on a terminal.

Secrets and payload values are never logged; ids, codes and counts are.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger

from workers.kernel.terminal import beneath, visible


def configure(log_format: str = "auto") -> None:
    """Send structlog and the standard library's logging to stderr in one form."""
    pretty = log_format == "pretty" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    for_people: list[Any] = [_written_out, structlog.dev.ConsoleRenderer()]
    renderers = for_people if pretty else [structlog.processors.JSONRenderer()]
    stream = beneath(sys.stderr)
    structlog.configure(
        processors=[*shared, *renderers],
        logger_factory=lambda *_: _Lines(stream),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, *renderers])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("stripe", "urllib3", "rq.worker", "rq.scheduler", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _written_out(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Keep what stands in an event or a file from steering the terminal; JSON escapes it by itself."""
    return {name: visible(v, keep="\n") if isinstance(v, str) else v for name, v in event.items()}


class _Lines:
    """Writes rendered lines; a record of the standard library for each would cost as much as rendering it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        with suppress(OSError, ValueError):  # a full disk or a closed pipe costs the line, never the work
            self._stream.write(line + "\n")
            self._stream.flush()

    info = warning = error = critical = msg


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a module."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))
