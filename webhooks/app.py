"""The web process as one WSGI app, the only place in `webhooks` that builds ledger and queue.

Stripe's posts go to `receiver`, everything else to a Flask app.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Response, current_app, request
from werkzeug.middleware.proxy_fix import ProxyFix

from webhooks import console, errors, health
from webhooks.receiver import ADDRESSES, Receiver
from webhooks.startup import startable
from webhooks.traffic import Traffic
from webhooks.worker import BoundedRequests
from workers.kernel.clock import Clock, utc_now
from workers.kernel.jobqueue import JobQueue, RqJobQueue
from workers.kernel.ledger import Ledger, connect
from workers.kernel.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_app(
    settings: Settings, *, ledger: Ledger | None = None, queue: JobQueue | None = None, clock: Clock = utc_now
) -> Flask:
    """Return the app. Nothing is connected before the first request.

    Raises SettingsUnusable without a signing secret: every post would be refused, and refusals look like attacks.
    """
    settings = startable(settings)
    ledger = ledger or connect(settings.database_url.get_secret_value(), clock)
    queue = queue or RqJobQueue(settings.redis_url.get_secret_value(), job_timeout=settings.job_timeout)
    posts = Receiver(settings, ledger, queue, clock, Traffic(ledger, clock))
    app = Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=settings.webhook_max_body)
    errors.init_app(app)
    app.after_request(_harden)
    app.extensions["health"] = health.Health(settings, ledger, queue, clock)
    app.register_blueprint(health.blueprint)
    console.init_app(app, settings, ledger, queue, clock)
    inner = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0)  # whose address a login counts for
    app.wsgi_app = BoundedRequests(_by_path(posts, inner))  # type: ignore[method-assign]
    return app


def _by_path(posts: "WSGIApplication", pages: "WSGIApplication") -> "WSGIApplication":
    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        return (posts if environ["PATH_INFO"].removesuffix("/") in ADDRESSES else pages)(environ, start_response)

    return answer


def _harden(response: Response) -> Response:
    """Forbid frames, caches, and scripts and styles but our own files. Nobody waits for a body over the cap."""
    if (request.content_length or 0) > current_app.config["MAX_CONTENT_LENGTH"]:
        response.headers["Connection"] = "close"
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.mimetype == "text/html":
        response.headers.update(
            {
                "Content-Security-Policy": (
                    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; "
                    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
                ),
                "X-Frame-Options": "DENY",
                "Referrer-Policy": "same-origin",
                "Cache-Control": "no-store",
            }
        )
    return response
