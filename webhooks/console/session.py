"""Who may see the console: one operator's password, a signed cookie, and a token on every form.

A session names the password's hash, so that a changed password ends every session.
"""

import threading
from datetime import timedelta
from hashlib import sha256

import gevent
from flask import Blueprint, Flask, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    UserMixin,
    current_user,
    login_user,
    logout_user,
)
from flask_wtf.csrf import CSRFProtect  # type: ignore[import-untyped]
from werkzeug.exceptions import TooManyRequests
from werkzeug.security import check_password_hash

from webhooks import health, receiver
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings

log = get_logger(__name__)
blueprint = Blueprint("session", __name__, url_prefix="/console")

LONGEST_PASSWORD = 256
_one_at_a_time = threading.Lock()
"""Checking a password costs a core 60 ms on purpose; many at once must not starve the receiver."""


class Operator(UserMixin):  # type: ignore[misc]
    """The one who knows the password. `id` is derived from its hash."""

    def __init__(self, password_hash: str) -> None:
        self.id = sha256(password_hash.encode()).hexdigest()[:16]


def init_app(app: Flask, settings: Settings) -> None:
    """Set up session, login and form tokens. `settings` have passed `startup.startable`."""
    assert settings.console_password_hash is not None
    assert settings.session_secret is not None
    app.config.update(
        SECRET_KEY=settings.session_secret.get_secret_value(),
        CONSOLE_PASSWORD_HASH=settings.console_password_hash.get_secret_value(),
        SESSION_COOKIE_NAME="metermend",
        SESSION_COOKIE_PATH="/console",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=(settings.console_url or "").startswith("https://"),
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,  # it compares hosts, which a proxy may have renamed; the token is the proof
    )
    manager = LoginManager(app)
    manager.user_loader(_operator)
    protect = CSRFProtect(app)
    protect.exempt(receiver.blueprint)  # Stripe signs its posts instead
    protect.exempt(health.blueprint)
    app.register_blueprint(blueprint)


def require_login() -> ResponseReturnValue | None:
    """Send a stranger to the login; for a blueprint's `before_request`."""
    if current_user.is_authenticated:
        return None
    return redirect(url_for("session.login", then=request.full_path.rstrip("?")))


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Ask for the password; on the right one go where the operator wanted to go.

    Answers 429 while another password is checked: a queue of logins would hold both cores.
    """
    if request.method != "POST":
        return render_template("console/login.html", wrong=False)
    if _is_password(request.form.get("password", "")):
        login_user(Operator(current_app.config["CONSOLE_PASSWORD_HASH"]))
        return redirect(_inside(request.args.get("then", "")))
    log.warning("login_refused", address=request.remote_addr)
    return render_template("console/login.html", wrong=True), 401


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session."""
    logout_user()
    return redirect(url_for("session.login"))


def _operator(operator_id: str) -> Operator | None:
    operator = Operator(current_app.config["CONSOLE_PASSWORD_HASH"])
    return operator if operator.id == operator_id else None


def _is_password(given: str) -> bool:
    if len(given) > LONGEST_PASSWORD:
        return False
    if not _one_at_a_time.acquire(blocking=False):
        raise TooManyRequests(retry_after=1)
    try:
        pool = gevent.get_hub().threadpool  # the loop goes on meanwhile
        return bool(pool.apply(check_password_hash, (current_app.config["CONSOLE_PASSWORD_HASH"], given)))
    finally:
        _one_at_a_time.release()


def _inside(address: str) -> str:
    """Return `address` if it is one of the console's own, else its front page: a link must not lead elsewhere."""
    return address if address.startswith("/console/") else url_for("pages.overview")
