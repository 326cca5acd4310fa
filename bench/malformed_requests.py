"""Requests that no client would make, as the bytes that go over the wire."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import requests
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode, openapi
from schemathesis.schemas import APIOperation

from api.app import create_api

HOST = "127.0.0.1"
PREFIX = "/api"
PATIENCE = 3.0  # seconds for an answer; a body that is shorter than it says has none
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "P\xd6ST"]
PIECES = [
    "%00",
    "%ff",
    "%ed%a0%80",
    "%",
    "%zz",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..",
    "%0d%0aX-Injected:%20yes",
    "\xe9",
    "9" * 400,
    "-1",
    "a" * 3000,
    "%25%30%30",
    "'%20OR%201=1--",
    "1;2",
    "NaN",
]
TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "application/json; charset=\xff",
    "application/json, text/csv",
    "text/csv",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/zip",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "*/*",
    "",
    ";;;",
]
HEADERS = [
    ("X-Request-ID", "a\tb"),
    ("X-Request-ID", "x" * 5000),
    ("Content-Encoding", "gzip"),
    ("If-Match", '"1'),
    ("If-Match", '"99999999999999999999"'),
    (
        "If-None-Match",
        '*, W/"',
    ),
    ("Idempotency-Key", "\xff" * 300),
    ("Range", "bytes=5-1"),
    ("Accept", "\xfe/\xff"),
    ("Accept-Encoding", "br;q=x, gzip;q=-1"),
    ("Cookie", "=;=;=\xff"),
    ("X-Forwarded-For", "'; DROP TABLE patients; --"),
    ("Forwarded", "for=\xff"),
    ("Host", "elsewhere.example:99999"),
    ("Origin", "null"),
    ("User-Agent", "\xff\xfe" * 400),
    ("X-Large", "y" * 70_000),
    ("Authorization", "Bearer " + "a.b.c" * 50),
    ("Authorization", "Bearer \xff\xfe"),
    ("Authorization", "Basic ="),
    ("Content-Length", "5"),
    ("Content-Length", "-5"),
    ("Content-Length", "9" * 30),
    ("Content-Length", "\xb2"),
    ("Transfer-Encoding", "chunked"),
    ("Transfer-Encoding", "identity, nonsense"),
    ("Expect", "200-maybe"),
    ("Upgrade", "h2c"),
    ("Bad Name", "x"),
]
BODIES = [
    b"",
    b"{",
    b"[" * 20_000,
    b'{"a":' * 5_000,
    b"null",
    b'{"age": NaN, "bmi": Infinity}',
    b'{"age": ' + b"9" * 5_000 + b"}",
    b'{"email": "\\ud800", "password": "\\u0000"}',
    b'{"reason": "\\udfff\\ud800"}',
    b'{"age": 1, "age": 2}',
    b'\xef\xbb\xbf{"age": 1}',
    '{"age": 40}'.encode("utf-16"),
    b'"\xff\xfe\xfd"',
    b"PK\x03\x04" + b"\0" * 60,
    b"--x\r\nContent-Disposition: form-data; name=file; filename=a.csv\r\n\r\nAge,Sex\r\n1,\0\r\n--x--\r\n",
    b'--x\r\nContent-Disposition: form-data; name="mapping"\r\n\r\n{"age": 1}\r\n--x--',
    b"--x\r\nContent-Disposition\r\n\r\n",
    b"\x1f\x8b\x08\x00nonsense",
    b"x" * 70_000,
]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


def operations() -> list[APIOperation]:  # type: ignore[type-arg]
    """Return everything that the API describes and that can be asked for in a way that it forbids."""
    schema = openapi.from_dict(create_api().openapi())
    schema.config.generation.update(with_security_parameters=False)  # tokens are put there here
    found = (result.ok() for result in schema.get_all_operations())
    return [operation for operation in found if can_be_asked_wrongly(operation)]


def can_be_asked_wrongly(operation: APIOperation) -> bool:  # type: ignore[type-arg]
    """Tell whether the description of an operation forbids anything; looking for what it forbids takes a second."""
    schemas = [parameter.definition["schema"] for parameter in operation.iter_parameters()]
    any_text = {"type": "string"}
    return bool(operation.body) or any(
        {**schema, "title": ""} != {**any_text, "title": ""} for schema in schemas
    )


def against_the_description(
    described: Sequence[APIOperation],
    tokens: Sequence[str],  # type: ignore[type-arg]
) -> SearchStrategy[bytes]:
    """Return requests of which something is not as the description has it."""
    strategies = [each.as_strategy(GenerationMode.NEGATIVE) for each in described]
    cases = st.sampled_from(strategies).flatmap(lambda strategy: strategy)
    return st.builds(_bytes_of, cases, st.sampled_from(tokens))


def _bytes_of(case: Case, token: str) -> bytes:
    sent = {"Authorization": f"Bearer {token}", "Connection": "close"}
    arguments = case.as_transport_kwargs(base_url=f"http://{HOST}{PREFIX}", headers=sent)
    names = ("method", "url", "headers", "files", "data", "params", "auth", "cookies", "json")
    try:
        request = requests.Request(**{name: arguments[name] for name in names if name in arguments}).prepare()
    except (requests.RequestException, ValueError):
        reject()
    body = request.body or b""
    content = body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")
    lines = [f"{request.method} {request.path_url} HTTP/1.1", f"Host: {HOST}"]
    lines += [f"{name}: {_text(value)}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + content


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


@st.composite
def rubbish(draw: Any, described: Sequence[APIOperation], tokens: Sequence[str]) -> bytes:  # type: ignore[type-arg]
    """Return requests of which little is right: method, address, headers, body or their encoding."""
    operation = draw(st.sampled_from(described))
    method = draw(st.just(operation.method.upper()) | st.sampled_from(METHODS))
    piece = st.sampled_from(PIECES)
    path = re.sub(r"\{\w+\}", lambda _: draw(piece | st.just("1")), operation.path)
    if draw(st.integers(0, 4)) == 0:
        path += draw(st.sampled_from(["/", "//", "?", "#", "/../health"])) + draw(piece)
    names = [parameter.name for parameter in operation.iter_parameters()] or ["other"]
    query = draw(st.lists(st.tuples(st.sampled_from(names), piece), max_size=3))
    path += "?" + "&".join(f"{name}={value}" for name, value in query) if query else ""
    body = draw(
        st.sampled_from(BODIES) | st.binary(max_size=200) | _JSON.map(lambda it: json.dumps(it).encode())
    )
    headers = [("Host", HOST), ("Connection", "close"), ("Content-Type", draw(st.sampled_from(TYPES)))]
    headers += (
        [("Authorization", f"Bearer {draw(st.sampled_from(tokens))}")] if draw(st.integers(0, 5)) else []
    )
    odd = draw(st.lists(st.sampled_from(HEADERS), max_size=2))
    if not {"Content-Length", "Transfer-Encoding"} & {name for name, *_ in odd}:
        headers.append(("Content-Length", str(len(body))))
    lines = [f"{method} {PREFIX}{path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in draw(st.permutations([*headers, *odd]))]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def status_of(port: int, request: bytes) -> str:
    """Send bytes to a server and return the status of its answer, or why there is none."""
    with socket.create_connection((HOST, port), timeout=PATIENCE) as connection:
        # A server may answer, and close, before it has read everything.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        begin = b"".join(_received(connection))
    found = re.match(rb"HTTP/1\.[01] (\d{3})", begin)
    return found[1].decode() if found else "none"


def _received(connection: socket.socket) -> Iterator[bytes]:
    length = 0
    with contextlib.suppress(OSError):
        while length < 12 and (part := connection.recv(4096)):
            length += len(part)
            yield part
