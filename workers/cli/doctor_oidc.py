"""What `metermend doctor` asks of the company's own login: whether the provider is there, and who it says it is.

Source: "OpenID Connect Discovery 1.0" (Obtaining OpenID Provider Configuration Information).
"""

from typing import Any, Final

import requests

from workers.kernel.errors import Permanent, Transient

DISCOVERY: Final = "/.well-known/openid-configuration"
TIMEOUT: Final = 10
"""Seconds that the provider may take to answer."""
_NEEDED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


def provider_found(issuer: str) -> str:
    """Return what the provider says of itself. Raises Transient and Permanent where nobody could log in by it."""
    try:
        answer = requests.get(issuer.rstrip("/") + DISCOVERY, timeout=TIMEOUT)
        answer.raise_for_status()
        said: Any = answer.json()
    except requests.exceptions.JSONDecodeError as error:
        raise Permanent(f"{issuer} answers no JSON under {DISCOVERY} - see OIDC_ISSUER") from error
    except requests.HTTPError as error:
        status = error.response.status_code
        raise Permanent(f"{issuer} answers {status} under {DISCOVERY} - see OIDC_ISSUER") from error
    except requests.RequestException as error:
        raise Transient(f"{issuer} could not be reached: {type(error).__name__}") from error
    if not isinstance(said, dict) or said.get("issuer") != issuer:
        named = said.get("issuer") if isinstance(said, dict) else None
        raise Permanent(f"the provider calls itself {named} - write OIDC_ISSUER exactly so")
    missing = [name for name in _NEEDED if not said.get(name)]
    if missing:
        raise Permanent(f"the provider names no {', '.join(missing)} - see OIDC_ISSUER")
    return f"{issuer}, which sends people back to /console/login/oidc/return"
