"""Structured logs: an event name and fields, JSON for machines and aligned text on a terminal.

Secrets and payload values are never logged; ids, codes and counts are.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, cast

import structlog

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
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(beneath(sys.stderr))
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


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))
