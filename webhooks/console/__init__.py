"""The operator's pages: what was refused, where it stands, what needs a person. They read the ledger alone.

It imports the kernel and its own templates; pages are rendered on the server and need no script. Start reading at
`pages`, which names them all; `address` reads what is asked of one, `acts` is what can be decided and `offers`
where, `files` hands out and takes files, `session` says who may see them, `figures` and `charts` prepare what is
drawn.
"""

from typing import Any

from flask import Flask, abort, request

from webhooks.console import acts, files, pages, session
from webhooks.console.figures import FILTERS
from workers.kernel.clock import Clock
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger import Ledger
from workers.kernel.places import uploading_by_hand
from workers.kernel.settings import Settings
from workers.kernel.terminal import visible

__all__ = ["init_app"]


def init_app(app: Flask, settings: Settings, ledger: Ledger, queue: JobQueue, clock: Clock) -> None:
    """Put the pages under /console/, behind a login."""
    app.before_request(files.make_room)
    app.before_request(_require_text)
    session.init_app(app, settings, ledger)
    if settings.logs_in_by_oidc:
        from webhooks.console import oidc  # what it brings along is loaded where it is used only

        oidc.init_app(app, settings)
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.finalize = _shown
    app.extensions.update(console=ledger, clock=clock, settings=settings)
    app.config["APPROVALS"] = settings.approvals
    app.config["BY_HAND"] = bool(uploading_by_hand(settings.target_places))
    app.extensions["job_queue"] = queue
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(acts.blueprint)
    app.register_blueprint(files.blueprint)
    app.register_blueprint(pages.assets)
    app.add_url_rule("/", view_func=pages.front_door)


def _require_text() -> None:
    """Answer 400 to a NUL: nobody types one, and PostgreSQL's text holds none."""
    if request.path.startswith("/console"):
        given = (request.path, *request.args.values(), *request.form.values())
        if any("\0" in text for text in given):
            abort(400)


def _shown(value: Any) -> Any:
    """Return what a page shows of a value: text of others must not hide, turn round, or be half a character."""
    return visible(value, keep="\n\t") if isinstance(value, str) and not hasattr(value, "__html__") else value
