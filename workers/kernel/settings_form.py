"""Settings that are there and cannot be what they should be, by their form alone. No secret is shown.

Sources: Stripe docs, "API keys" and "Verify webhook signatures manually"; Slack docs, "Token types" and "Sending
messages using incoming webhooks".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pydantic import SecretStr

    from workers.kernel.settings import Settings

_SIGNING_SECRET: Final = re.compile(r"whsec_[\w+/=-]+")
_API_KEY: Final = re.compile(r"(sk|rk)_(org_)?(test|live)_\w+")
_HASH: Final = re.compile(r"(scrypt|pbkdf2):[^$]+\$[^$]+\$[0-9a-f]+")
_CHANNEL: Final = re.compile(r"#?[^\s#@:/,]{1,80}")
_SLACK_HOSTS: Final = frozenset({"slack.com", "api.slack.com", "app.slack.com"})
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_KINDS: Final = {
    "pk_": "a publishable key, which may read nothing",
    "whsec_": "a signing secret, which belongs into STRIPE_WEBHOOK_SECRETS",
    "xox": "a token of Slack's",
}
_SHORTEST_SESSION_SECRET: Final = 16


@dataclass(frozen=True)
class Problem:
    """Something about the settings that an operator should mend."""

    setting: str
    what: str
    mend: str
    fatal: bool


def malformed(settings: "Settings") -> Iterator[Problem]:
    """Yield what is set and cannot work."""
    yield from _signing_secrets(settings)
    yield from _api_key(settings)
    yield from _slack(settings)
    yield from _console_url(settings)
    yield from _oidc(settings)
    password_hash = _text(settings.console_password_hash)
    if password_hash and not _HASH.fullmatch(password_hash):
        mend = "write what werkzeug.security.generate_password_hash returns, in single quotes"
        yield Problem("CONSOLE_PASSWORD_HASH", "not a password hash", mend, fatal=True)
    if 0 < len(_text(settings.session_secret)) < _SHORTEST_SESSION_SECRET:
        what = f"is shorter than {_SHORTEST_SESSION_SECRET} characters, so that it can be guessed"
        mend = """make one: python -c "import secrets; print(secrets.token_urlsafe(32))\""""
        yield Problem("SESSION_SECRET", what, mend, fatal=False)


def _signing_secrets(settings: "Settings") -> Iterator[Problem]:
    """Name those that are none; with no other the service could take nothing in."""
    given = settings.signing_secrets
    wrong = [number for number, secret in enumerate(given, 1) if not _SIGNING_SECRET.fullmatch(secret)]
    mend = "copy the whsec_ values of both event destinations (snapshot and thin)"
    if wrong:
        named = ", ".join(map(str, wrong))
        what = f"number {named} of {len(given)} is no signing secret: whsec_ and what follows it, whole"
        yield Problem("STRIPE_WEBHOOK_SECRETS", what, mend, fatal=len(wrong) == len(given))
    elif len(given) == 1:
        what = "one secret only: the snapshot destination and the thin one have one each"
        yield Problem("STRIPE_WEBHOOK_SECRETS", what, mend, fatal=False)


def _api_key(settings: "Settings") -> Iterator[Problem]:
    key = _text(settings.stripe_api_key)
    if key and not _API_KEY.fullmatch(key):
        kind = next((kind for start, kind in _KINDS.items() if key.startswith(start)), None)
        what = f"is {kind}" if kind else "is no API key: those begin with rk_test_, rk_live_, sk_test_ or sk_live_"
        mend = "create a restricted key that reads meters, files, customers and events"
        yield Problem("STRIPE_API_KEY", what, mend, fatal=True)


def _slack(settings: "Settings") -> Iterator[Problem]:
    address = urlsplit(_text(settings.slack_webhook_url))
    if address.netloc and address.hostname in _SLACK_HOSTS:
        what = "is a page of Slack's, and no incoming webhook"
        mend = "copy https://hooks.slack.com/services/... from the Slack app's page"
        yield Problem("SLACK_WEBHOOK_URL", what, mend, fatal=False)
    token = _text(settings.slack_bot_token)
    if token and not token.startswith("xoxb-"):
        what, mend = "is no bot token: those begin with xoxb-", "copy the Bot User OAuth Token of the Slack app"
        yield Problem("SLACK_BOT_TOKEN", what, mend, fatal=False)
    if settings.slack_channel and not _CHANNEL.fullmatch(settings.slack_channel):
        what, mend = "is no channel", "name one channel by its id (C...) or its name"
        yield Problem("SLACK_CHANNEL", what, mend, fatal=False)


def _console_url(settings: "Settings") -> Iterator[Problem]:
    """Look whether the links in Slack lead to a console that one can log in to: its cookies go over HTTPS only."""
    if not settings.console_url:
        return
    address = urlsplit(settings.console_url)
    name = "CONSOLE_URL"
    if address.hostname in _HERE:
        what = "leads to the reader's own machine"
        yield Problem(name, what, "name the address at which others reach the console", fatal=False)
    elif address.scheme != "https":
        what = "is no https address, so that nobody can log in there"
        yield Problem(name, what, "put a proxy with TLS before the web, and name its address", fatal=False)
    if address.query or address.fragment or "/console" in address.path:
        what = "is not the address of the web itself: links add /console/ to it"
        yield Problem(name, what, f"write {address.scheme}://{address.hostname}", fatal=False)


def _oidc(settings: "Settings") -> Iterator[Problem]:
    """Look whether the company's own login can be offered, and cannot be listened to."""
    if not settings.oidc_issuer:
        return
    needed = {
        "OIDC_CLIENT_ID": (settings.oidc_client_id, "copy it from the client at the provider"),
        "OIDC_CLIENT_SECRET": (settings.oidc_client_secret, "copy it from the client at the provider"),
        "CONSOLE_URL": (settings.console_url, "name the address of the console: the provider sends people there"),
    }
    for name, (value, mend) in needed.items():
        if not value:
            yield Problem(name, "unset: nobody can log in by OIDC_ISSUER", mend, fatal=False)
    address = urlsplit(settings.oidc_issuer)
    if address.scheme != "https" and address.hostname not in _HERE:
        what = "is no https address: whoever listens could log in as anybody"
        yield Problem("OIDC_ISSUER", what, "name the https address of the provider", fatal=False)


def _text(secret: "SecretStr | None") -> str:
    return secret.get_secret_value() if secret else ""
