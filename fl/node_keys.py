"""The key pair by which a SuperNode proves which institution it answers for: made, read, and told apart."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

CURVES = (
    ec.SECP256R1,
    ec.SECP384R1,
    ec.SECP521R1,
)  # of those that Flower takes, the ones that are long enough
NOT_A_KEY = (
    "This is not a SuperNode's public key. It is one line that begins with ecdsa-sha2-nistp384, as "
    "python -m fl.runtime.supernode_key prints it."
)
_PRIVATE_MARK = "PRIVATE KEY"


class BadKey(ValueError):
    """What was given is no key that a SuperNode can have."""


def make_private_key(path: Path) -> None:
    """Write a new private key in OpenSSH's format, mode 0600.

    Raises
    ------
    FileExistsError
        If there is a file already: the key in it would be lost.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key.

    Raises
    ------
    BadKey
        If the file holds none, or one of another kind.
    OSError
        If it cannot be read.
    """
    content = path.read_bytes()
    try:
        key = serialization.load_ssh_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{path} holds no private key of a SuperNode.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, CURVES):
        raise BadKey(f"{path} holds a key of another kind than a SuperNode's.")
    return key


def public_line(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the public half as one line of OpenSSH, without a comment."""
    return _line(key.public_key())


def read_public_line(text: str) -> str:
    """Return a pasted public key as one line of OpenSSH without its comment; PEM is understood too.

    Raises
    ------
    BadKey
        With a sentence for whoever pasted it.
    """
    if _PRIVATE_MARK in text:
        raise BadKey(
            "This is a private key, which must never leave its SuperNode. Make a new pair there, delete this one, "
            "and paste the public key: the line that begins with ecdsa-sha2-nistp384."
        )
    content = text.strip().encode("ascii", "replace")
    load = serialization.load_pem_public_key if b"BEGIN" in content else serialization.load_ssh_public_key
    try:
        key = load(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey(NOT_A_KEY) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, CURVES):
        raise BadKey(NOT_A_KEY)
    return _line(key)


def fingerprint(line: str) -> str:
    """Return the fingerprint of a public key's line, as `ssh-keygen -l` tells it."""
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def public_pem(line: str) -> bytes:
    """Return a public key's line in the form in which SuperLink knows it."""
    return serialization.load_ssh_public_key(line.encode()).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _line(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
