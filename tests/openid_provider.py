"""A small OpenID Connect provider on loopback, for tests: code flow with PKCE, RS256, and mistakes on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "fedcost", "the secret of this application at the provider"


@dataclass
class Provider:
    """What the provider says of whoever comes next.

    Attributes
    ----------
    claims
        Laid over the ID token; a value of None leaves the claim out.
    sign_with_another_key
        Whether the signature is by a key that the provider does not publish.
    ended
        The ID tokens with which somebody was signed out here.
    """

    address: str = ""
    email: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    sign_with_another_key: bool = False
    refuse: bool = False
    ended: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )

    @property
    def metadata_url(self) -> str:
        """Where its discovery document is."""
        return f"{self.address}/.well-known/openid-configuration"

    def behave(self, email: str, **claims: Any) -> None:
        """Vouch for this address from now on, without earlier mistakes."""
        self.email, self.claims = email, claims
        self.algorithm, self.sign_with_another_key, self.refuse = "RS256", False, False

    def metadata(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "end_session_endpoint": f"{self.address}/end",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def keys(self) -> dict[str, Any]:
        """Return the published keys."""
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**jwk, "kid": "one", "use": "sig", "alg": "RS256"}]}

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser goes on, with a code or a refusal."""
        assert query["client_id"] == CLIENT_ID and query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"] and query["nonce"]
        answer = {"state": query["state"]}
        if self.refuse:
            answer["error"] = "access_denied"
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self._codes[answer["code"]] = query
        return f"{query['redirect_uri']}?{urllib.parse.urlencode(answer)}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """Trade a code, once, for an ID token; None if the request is not in order."""
        asked = self._codes.pop(form.get("code", ""), None)
        expected = base64.b64encode(f"{CLIENT_ID}:{urllib.parse.quote_plus(CLIENT_SECRET)}".encode()).decode()
        plain = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if asked is None or authorization.removeprefix("Basic ") not in (expected, plain):
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return None
        now = int(time.time())
        claims = {
            "iss": self.address,
            "sub": f"subject of {self.email}",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            "email": self.email,
            "email_verified": True,
            **self.claims,
        }
        return {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": self._signed({name: value for name, value in claims.items() if value is not None}),
        }

    def _signed(self, claims: dict[str, Any]) -> str:
        if self.algorithm == "none":
            return jwt.encode(claims, None, algorithm="none")
        if self.algorithm == "HS256":
            return jwt.encode(claims, CLIENT_SECRET, algorithm="HS256", headers={"kid": "one"})
        key = self._key
        if self.sign_with_another_key:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "one"})


@contextmanager
def started_provider() -> Iterator[Provider]:
    """Serve a provider on a spare port of this machine."""
    provider = Provider()

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def _send(self, status: int, body: Any, **headers: str) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            place = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(place.query))
            if place.path == "/.well-known/openid-configuration":
                self._send(200, provider.metadata())
            elif place.path == "/keys":
                self._send(200, provider.keys())
            elif place.path == "/authorize":
                self._send(302, {}, Location=provider.authorize(query))
            elif place.path == "/end":
                provider.ended.append(query.get("id_token_hint", ""))
                self._send(302, {}, Location=query["post_logout_redirect_uri"])
            else:
                self._send(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = dict(urllib.parse.parse_qsl(body))
            answer = provider.token(form, self.headers.get("Authorization", ""))
            self._send(*((200, answer) if answer else (400, {"error": "invalid_grant"})))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    provider.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
