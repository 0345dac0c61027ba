"""Logging in by the company's own provider, by OpenID Connect: code flow with state, nonce and PKCE.

It says who somebody is, and nothing more: whoever is no user of the ledger stays outside, and his role is what
`metermend user` gave him.
Sources: "OpenID Connect Core 1.0" (ID Token Validation) and "OpenID Connect Discovery 1.0".
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.flask_client import OAuth  # type: ignore[import-untyped]
from flask import Blueprint, Flask, current_app, request, session
from flask.typing import ResponseReturnValue
from joserfc.errors import JoseError
from requests import RequestException
from werkzeug.exceptions import TooManyRequests

from webhooks.console.address import the_ledger
from webhooks.console.session import enter, login_page
from workers.kernel.errors import MetermendError, Permanent, Transient
from workers.kernel.logs import get_logger
from workers.kernel.settings import Settings

log = get_logger(__name__)
blueprint = Blueprint("oidc", __name__, url_prefix="/console/login/oidc")

TIMEOUT: Final = 10
"""Seconds that one answer of the provider may take."""
CONVERSATIONS: Final = 20
"""Logins at a time: each holds a connection that Stripe may need."""
DISCOVERY: Final = "/.well-known/openid-configuration"
SIGNED_BY: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures of the provider's own key: one by the client's secret would prove less, and `none` nothing."""
EMAIL: Final = "email"
_THEN: Final = "oidc_then"
_AWAY: Final = "Your company's login does not answer. Try again in a moment, or log in by your password."
_FAILED: Final = "That login was not completed. Begin it again; where it fails again, the web's log says why."
_STRANGER: Final = "You are who you say, but nobody of that name may use the console: ask for `metermend user add`."


class Provider:
    """The provider of the settings, which are complete: OIDC_ISSUER, its client, and CONSOLE_URL."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        assert settings.oidc_issuer
        assert settings.oidc_client_secret
        assert settings.console_url
        self._issuer = settings.oidc_issuer
        self._claim = settings.oidc_claim
        self._returns_to = f"{settings.console_url.rstrip('/')}/console/login/oidc/return"
        self._client = OAuth(app).register(
            "oidc",
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret.get_secret_value(),
            server_metadata_url=settings.oidc_issuer.rstrip("/") + DISCOVERY,
            client_kwargs={
                "scope": "openid profile email",
                "code_challenge_method": "S256",
                "default_timeout": TIMEOUT,
            },
        )
        self._room = threading.BoundedSemaphore(CONVERSATIONS)

    def leave(self) -> ResponseReturnValue:
        """Send the browser to the provider. Raises Transient while it is away, Permanent where it is another."""
        with self._talking():
            self._look_up()
            answer: ResponseReturnValue = self._client.authorize_redirect(self._returns_to)
            return answer

    def visitor(self) -> str:
        """Return who has come back from the provider. Raises Permanent where that is not proven, and as `leave`."""
        with self._talking():
            self._look_up()
            claims = self._client.authorize_access_token(
                claims_options={
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client.client_id},
                }
            ).get("userinfo")
        if not claims:
            raise Permanent("the provider has sent no ID token")
        if self._claim == EMAIL and claims.get("email_verified") is not True:
            raise Permanent("the provider does not say that the e-mail address is verified")
        name = claims.get(self._claim)
        if not isinstance(name, str) or not name:
            raise Permanent(f"the ID token has no claim {self._claim}")
        return name

    def _look_up(self) -> None:
        """Know the provider's addresses, and that it is the one of the settings."""
        metadata: dict[str, Any] = self._client.load_server_metadata()
        if metadata.get("issuer") != self._issuer:
            metadata.pop("_loaded_at", None)  # to be looked up again once it is mended
            raise Permanent(f"OIDC_ISSUER is {self._issuer}, and the provider there calls itself another")
        named = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        trusted = [one for one in named if one in SIGNED_BY]
        if not trusted:
            raise Permanent(f"the provider signs by {', '.join(named)}, none of which its own key makes")
        metadata["id_token_signing_alg_values_supported"] = trusted

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Turn what can go wrong into our own errors. Raises TooManyRequests while many log in."""
        if not self._room.acquire(blocking=False):
            raise TooManyRequests(retry_after=1)
        try:
            yield
        except RequestException as error:
            raise Transient(f"the provider does not answer: {type(error).__name__}") from error
        except (OAuthError, JoseError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise Permanent(f"the provider's answer is none: {error}") from error
        finally:
            self._room.release()


def init_app(app: Flask, settings: Settings) -> None:
    """Offer the login."""
    app.extensions["oidc"] = Provider(app, settings)
    app.register_blueprint(blueprint)


@blueprint.get("")
def leave() -> ResponseReturnValue:
    """Send the browser to the provider; logins that were begun before and never completed are forgotten."""
    for key in [key for key in session if key.startswith("_state_oidc_")]:
        session.pop(key)
    session[_THEN] = request.args.get("then", "")
    try:
        return _provider().leave()
    except MetermendError as error:
        return _refused(error)


@blueprint.get("/return")
def come_back() -> ResponseReturnValue:
    """Let in who has come back from the provider and is a user of the ledger."""
    then = session.pop(_THEN, "")
    try:
        name = _provider().visitor()
    except MetermendError as error:
        return _refused(error)
    user = the_ledger().users.get(name)
    if user is None:
        log.warning("login_refused", address=request.remote_addr, by="oidc", name=name)
        return login_page(_STRANGER), 403
    return enter(user, then)


def _refused(error: MetermendError) -> ResponseReturnValue:
    away = isinstance(error, Transient)
    log.warning("login_refused", address=request.remote_addr, by="oidc", error=str(error))
    return login_page(_AWAY if away else _FAILED), 503 if away else 401


def _provider() -> Provider:
    provider: Provider = current_app.extensions["oidc"]
    return provider
