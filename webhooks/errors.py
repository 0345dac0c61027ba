"""What a caller is told when a request fails: one word for machines, a page for people, never a traceback."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flask import Flask, render_template, request
from werkzeug import Response
from werkzeug.exceptions import HTTPException

from workers.kernel.errors import (
    BodyTooLarge,
    LedgerUnavailable,
    MalformedBody,
    MetermendError,
    Overloaded,
    Refused,
    SignatureRefused,
)
from workers.kernel.logs import get_logger

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = get_logger(__name__)

STATUS: Mapping[type[Exception], int] = {
    SignatureRefused: 400,
    MalformedBody: 400,
    BodyTooLarge: 413,
    Overloaded: 503,
    LedgerUnavailable: 503,
}
"""Error class to HTTP status; what is not listed is our own fault and answers 500."""

PAGES = {
    403: ("Not yours to do", "Your role does not allow it: whoever runs metermend may change that."),
    404: ("Not found", "There is nothing at this address. It may name a case or an event of another ledger."),
    408: (
        "That took too long",
        "A form has 15 seconds to arrive: metermend fix CASE --file FILE, or take-in FILE, has all the time.",
    ),
    413: (
        "The file is too large",
        "It may have 8 MiB: leave out rows that are as they were, or use metermend fix CASE --file or take-in.",
    ),
    429: ("Another login is being checked", "One password is checked at a time. Try again in a moment."),
    503: ("The ledger does not answer", "Nothing is lost: Stripe delivers again. See /readyz and the log."),
}
"""Titles and advice of error pages; other statuses show what HTTP calls them."""

RETRY_SECONDS = "5"
"""When whoever got a 503 may ask again."""

BODY_UNREAD = (405, 408, 413)
"""Statuses of an error that leaves a body behind."""

PASSED_ON = {"Allow", "Retry-After"}
"""What an HTTP error of Werkzeug's may say in a header."""


def init_app(app: Flask) -> None:
    """Answer every error of the app."""
    app.register_error_handler(Exception, _in_the_app)


def answer(error: Exception, environ: "WSGIEnvironment") -> Response:
    """Return what a machine is told, and log what is no fault of the caller's."""
    status, slug = _told(error)
    if status >= 500:
        unforeseen = None if isinstance(error, MetermendError | HTTPException) else error
        log.error("request_failed", path=environ["PATH_INFO"], status=status, error=str(error), exc_info=unforeseen)
    word = json.dumps({"error": slug}, separators=(",", ":"))
    made = Response(word + "\n", status, mimetype="application/json")
    made.headers["X-Content-Type-Options"] = "nosniff"
    if isinstance(error, HTTPException):
        made.headers.extend((name, value) for name, value in error.get_headers() if name in PASSED_ON)
    if status == 503:
        made.headers["Retry-After"] = RETRY_SECONDS
    if status in BODY_UNREAD:
        made.headers["Connection"] = "close"  # the rest of the body is not worth reading
        made.call_on_close(environ["wsgi.input"].linger)
    return made


def _told(error: Exception) -> tuple[int, str]:
    """Return the status and the word for an error."""
    if isinstance(error, HTTPException):
        return error.code or 500, error.name.lower().replace(" ", "_")
    status = STATUS.get(type(error), 500)
    if isinstance(error, Refused):
        return status, error.slug
    return status, "unavailable" if status == 503 else "internal_error"


def _in_the_app(error: Exception) -> Response:
    made = answer(error, request.environ)
    if request.path.startswith("/console"):
        status, slug = _told(error)
        title, advice = PAGES.get(status, (slug.replace("_", " ").capitalize(), ""))
        made.mimetype = "text/html"
        made.set_data(render_template("console/error.html", title=title, advice=advice))
    return made
