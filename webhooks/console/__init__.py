"""The operator's pages: what was refused, where it stands, what needs a person. They read the ledger only.

It imports the kernel and its own templates; pages are rendered on the server and need no script. Start reading at
`pages`; `session` decides who may see them, `advice` says what to do next, `figures` prepares the equation.
"""

from flask import Flask

from webhooks.console import pages, session
from webhooks.console.figures import FILTERS
from workers.kernel.ledger import Ledger
from workers.kernel.settings import Settings

__all__ = ["init_app"]


def init_app(app: Flask, settings: Settings, ledger: Ledger) -> None:
    """Put the pages under /console/, behind a login."""
    session.init_app(app, settings, ledger)
    app.jinja_env.filters.update(FILTERS)
    app.extensions["console"] = ledger
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(pages.assets)
    app.add_url_rule("/", view_func=pages.front_door)
