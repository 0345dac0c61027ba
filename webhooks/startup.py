"""What a web process needs before it may start: a signing secret, and a login for the console.

Imported by gunicorn's master as well, so it touches neither the ledger nor prometheus_client.
"""

import secrets
import sys
from typing import Final

from pydantic import SecretStr
from werkzeug.security import generate_password_hash

from workers.kernel.errors import SettingsUnusable
from workers.kernel.settings import Settings
from workers.kernel.settings_check import problems

_NEEDED: Final = frozenset({"STRIPE_WEBHOOK_SECRETS", "CONSOLE_PASSWORD_HASH"})


def startable(settings: Settings) -> Settings:
    """Return `settings` with a login to the console; one that is made here is printed, once.

    Raises SettingsUnusable when no post could be accepted or nobody could log in.
    """
    _require_usable(settings)
    made: dict[str, SecretStr] = {}
    if settings.console_password_hash is None:
        made["console_password_hash"] = SecretStr(_printed_password(settings.port))
    if settings.session_secret is None:
        made["session_secret"] = SecretStr(secrets.token_urlsafe(32))
    return settings.model_copy(update=made)


def login_environment(settings: Settings) -> dict[str, str]:
    """Return what a worker process must find in its environment to share this login."""
    found = {"CONSOLE_PASSWORD_HASH": settings.console_password_hash, "SESSION_SECRET": settings.session_secret}
    return {name: secret.get_secret_value() for name, secret in found.items() if secret}


def _require_usable(settings: Settings) -> None:
    for problem in problems(settings):
        if problem.fatal and problem.setting in _NEEDED:
            raise SettingsUnusable(problem.what, where=problem.setting, mend=problem.mend)


def _printed_password(port: int) -> str:
    password = secrets.token_urlsafe(12)
    print(  # noqa: T201
        f"console: http://localhost:{port}/console/  password: {password}  (set CONSOLE_PASSWORD_HASH to keep one)",
        file=sys.stderr,
    )
    return generate_password_hash(password)
