"""Who may see the console, and do what: users of the ledger, or whoever knows the one password of the settings.

The cookie names a session, the user and his password's hash: logging out ends the session wherever its cookie has
got to, and a changed password ends all of the user's. `logins` decides whose password is looked at while many are
tried.
"""

from datetime import timedelta
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import Blueprint, Flask, abort, current_app, redirect, render_template, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    UserMixin,
    current_user,
    login_user,
    logout_user,
)
from flask_wtf.csrf import CSRFProtect  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from webhooks import health
from webhooks.console.address import the_ledger
from webhooks.console.logins import Logins, name_of
from workers.kernel.clock import utc_now
from workers.kernel.ledger import Ledger
from workers.kernel.ledger.users import LONGEST_NAME, SHARED, Role, User
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings

log = get_logger(__name__)
blueprint = Blueprint("session", __name__, url_prefix="/console")

LASTING = timedelta(hours=12)


class Person(UserMixin):  # type: ignore[misc]
    """Somebody who is logged in. `id` is what the cookie holds: of the password's hash, the session, the name."""

    def __init__(self, name: str, role: Role, password_hash: str, token: str) -> None:
        self.name, self.role, self.token = name, role, token
        self.id = f"{name_of(password_hash)}.{token}.{name}"


class _Cookies(SecureCookieSessionInterface):
    """Send the session over HTTPS only, but to the machine itself, where nobody listens in between."""

    def get_cookie_secure(self, app: Flask) -> bool:
        forwarded = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto"))
        return app.config["SESSION_COOKIE_SECURE"] or forwarded or not _on_loopback()


def init_app(app: Flask, settings: Settings, ledger: Ledger) -> None:
    """Set up session, login and form tokens. `settings` have passed `startup.startable`."""
    assert settings.console_password_hash is not None
    assert settings.session_secret is not None
    secret, password_hash = settings.session_secret.get_secret_value(), settings.console_password_hash
    app.config.update(
        SECRET_KEY=secret,
        SESSION_COOKIE_NAME="metermend",
        SESSION_COOKIE_PATH="/console",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=(settings.console_url or "").startswith("https://"),
        PERMANENT_SESSION_LIFETIME=LASTING,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,  # it compares hosts, which a proxy may have renamed; the token is the proof
    )
    app.session_interface = _Cookies()
    app.extensions["logins"] = Logins(secret)
    shared = User(SHARED, Role.APPROVER, password_hash.get_secret_value(), utc_now())
    app.extensions["user_of"] = lambda name: ledger.users.get(name) if name != SHARED else shared
    manager = LoginManager(app)
    manager.session_protection = "strong"  # a cookie that another browser or address shows is none
    manager._session_identifier_generator = _browser  # noqa: SLF001 (it offers no other way)

    @manager.user_loader  # type: ignore[untyped-decorator]
    def person(known_as: str) -> Person | None:
        _, _, rest = known_as.partition(".")
        token, _, name = rest.partition(".")
        user = app.extensions["user_of"](name)
        if user is None or not ledger.sessions.is_open(token):
            return None
        named = Person(user.name, user.role, user.password_hash, token)
        return named if named.id == known_as else None

    protect = CSRFProtect(app)
    protect.exempt(health.blueprint)
    app.register_blueprint(blueprint)


def require_login() -> ResponseReturnValue | None:
    """Send a stranger to the login; for a blueprint's `before_request`."""
    if current_user.is_authenticated:
        return None
    return redirect(url_for("session.login", then=request.full_path.rstrip("?")))


def require_role(role: Role) -> None:
    """Answer 403 to whoever is logged in and may not do it."""
    if not current_user.role.may(role):
        abort(403)


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Ask for the password; on the right one go where the operator wanted to go.

    Answers 429 to an address that has tried too often, and while too many strangers' passwords wait to be checked.
    """
    logins: Logins = current_app.extensions["logins"]
    if request.method != "POST":
        return login_page()
    name = request.form.get("name", "").strip()[:LONGEST_NAME] or SHARED
    user: User | None = current_app.extensions["user_of"](name)
    password_hash = user.password_hash if user else None
    right = logins.is_password(request.form.get("password", ""), password_hash, name, request)
    if user is not None and right:
        return logins.remember(enter(user, request.args.get("then", "")), user.password_hash, secure=_secure())
    log.warning("login_refused", address=request.remote_addr)
    return login_page("That is not the password of that name."), 401


def login_page(fault: str | None = None) -> str:
    """Return the page that asks for a login, with what was wrong with the last one."""
    then = request.args.get("then", "")
    company = url_for("oidc.leave", then=then) if "oidc" in current_app.extensions else None
    return render_template("console/login.html", fault=fault, secure=_secure(), company=company)


def enter(user: User, then: str) -> Response:
    """Open a session for a user whose login is proven; return the way to where he wanted to go."""
    _close_session()
    token = the_ledger().sessions.open(LASTING)
    login_user(Person(user.name, user.role, user.password_hash, token))
    return redirect(_inside(then))


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session, also for a copy of its cookie."""
    _close_session()
    logout_user()
    return redirect(url_for("session.login"))


def _close_session() -> None:
    if "_user_id" in session and current_user.is_authenticated:
        the_ledger().sessions.close(current_user.token)


def _browser() -> str:
    """Tell browsers apart. Flask-Login's own way believes `X-Forwarded-For`, which anybody can write."""
    return sha256(f"{request.remote_addr}|{request.user_agent}".encode()).hexdigest()


def _secure() -> bool:
    return current_app.session_interface.get_cookie_secure(current_app)


def _on_loopback() -> bool:
    """Whether the browser addresses this machine itself."""
    name = urlsplit(f"//{request.host}").hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _inside(address: str) -> str:
    """Return `address` if it is a page of the console, else its front page: a link must not lead elsewhere.

    What is returned is built anew from the page's route, so that nothing else of `address` gets into the answer.
    """
    try:
        parts = urlsplit(address)
        endpoint, arguments = current_app.url_map.bind("").match(parts.path, method="GET")
    except (HTTPException, ValueError):
        return url_for("pages.overview")
    if parts.netloc or not endpoint.startswith(("pages.", "acts.")):
        return url_for("pages.overview")
    query = urlencode(parse_qsl(parts.query))
    return url_for(endpoint, **arguments) + (f"?{query}" if query else "")
