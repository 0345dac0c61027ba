"""A company's OpenID Connect provider, small, over HTTP, that plays what a test asks for."""

import json
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask, Response, abort, jsonify, request
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from werkzeug.serving import make_server

CLIENT, SECRET = "metermend", "made-up-secret"


@dataclass
class Provider:
    """`claims` is what its next ID token says over what is right; `key` and `alg` are what signs it."""

    url: str = ""
    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    key: ECKey | OctKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "1"}))
    published: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "1"}))
    alg: str = "ES256"
    away: bool = False
    begun: dict[str, dict[str, str]] = field(default_factory=dict)

    def sound(self) -> None:
        """Do what is right from now on, for a person whose e-mail address is ada@example.com."""
        self.issuer, self.claims, self.key, self.alg, self.away = self.url, {}, self.published, "ES256", False

    def log_in(self, address: str) -> str:
        """Do as somebody who is sent to `address` and logs in there; return the query that leads back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        code = f"code-{len(self.begun)}"
        self.begun[code] = asked
        return f"code={code}&state={asked['state']}"

    def id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        right = {
            "iss": self.issuer, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 300, "nonce": asked["nonce"],
            "email": "ada@example.com", "email_verified": True,
        }  # fmt: skip
        claims = {name: value for name, value in (right | self.claims).items() if value is not None}
        return jwt.encode({"alg": self.alg, "kid": "1"}, claims, self.key, algorithms=[self.alg])


@contextmanager
def running() -> Iterator[Provider]:
    provider, app = Provider(), Flask(__name__)

    @app.before_request
    def _away() -> Response | None:
        return Response("away", 503) if provider.away else None

    @app.get("/.well-known/openid-configuration")
    def _discovery() -> Response:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        said = {name: f"{provider.url}/{path}" for name, path in places.items()}
        return jsonify(**said, issuer=provider.issuer, id_token_signing_alg_values_supported=["ES256", "HS256"])

    @app.get("/keys")
    def _keys() -> Response:
        return jsonify(keys=[provider.published.as_dict(private=False)])

    @app.post("/token")
    def _token() -> Response:
        asked = provider.begun.pop(request.form["code"], None) or abort(400)
        challenge = urlsafe_b64encode(sha256(request.form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        proven = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode() == f"{CLIENT}:{SECRET}"
        if (
            challenge != asked["code_challenge"]
            or not proven
            or request.form["redirect_uri"] != asked["redirect_uri"]
        ):
            return Response(json.dumps({"error": "invalid_grant"}), 400, content_type="application/json")
        return jsonify(access_token="a", token_type="Bearer", expires_in=60, id_token=provider.id_token(asked))

    server = make_server("127.0.0.1", 0, app, threaded=True)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield provider
    server.shutdown()
    thread.join()
    server.server_close()
