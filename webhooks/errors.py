"""What a caller is told when a request fails: one word for machines, a page for people, never a traceback."""

from collections.abc import Mapping

from flask import Flask, Response, jsonify, make_response, render_template, request
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

log = get_logger(__name__)

STATUS: Mapping[type[MetermendError], int] = {
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

PASSED_ON = {"Allow", "Retry-After"}
"""What an HTTP error of Flask's may say in a header."""


def init_app(app: Flask) -> None:
    """Answer every error of the app."""
    app.register_error_handler(MetermendError, _known)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unforeseen)


def _known(error: MetermendError) -> Response:
    status = STATUS.get(type(error), 500)
    slug = error.slug if isinstance(error, Refused) else "unavailable" if status == 503 else "internal_error"
    if status >= 500:
        log.error("request_failed", path=request.path, status=status, error=str(error))
    return _answer(status, slug)


def _http(error: HTTPException) -> Response:
    answer = _answer(error.code or 500, error.name.lower().replace(" ", "_"))
    answer.headers.extend((name, value) for name, value in error.get_headers() if name in PASSED_ON)
    return answer


def _unforeseen(error: Exception) -> Response:
    log.error("request_failed", path=request.path, status=500, exc_info=error)
    return _answer(500, "internal_error")


def _answer(status: int, slug: str) -> Response:
    if request.path.startswith("/console"):
        title, advice = PAGES.get(status, (slug.replace("_", " ").capitalize(), ""))
        answer = make_response(render_template("console/error.html", title=title, advice=advice), status)
    else:
        answer = make_response(jsonify(error=slug), status)
    if status == 503:
        answer.headers["Retry-After"] = RETRY_SECONDS
    if status in (408, 413):
        answer.headers["Connection"] = "close"  # the rest of the body is not worth reading
        answer.call_on_close(request.environ["wsgi.input"].linger)
    return answer
