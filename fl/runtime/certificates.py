"""`python -m fl.runtime.certificates`: the consortium's certificate authority and SuperLink's certificate.

`make DIRECTORY NAME...` makes both, `renew DIRECTORY` a new certificate of the same names under the same authority,
`show DIRECTORY` says until when they are valid. Sites are given `ca.pem` and nothing else.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
SERVER_DAYS = 397
WARN_DAYS = 30  # before the end an operator is warned
# The ServerApp and the supervisor reach SuperLink on its own machine.
OWN_MACHINE = ("localhost", "127.0.0.1", "::1")


class CertificatesRefused(Exception):
    """What was asked for cannot be done; the message says why."""


@dataclass(frozen=True)
class CertificateFiles:
    """The four files of a folder; the authority's key is needed for renewals only and may be kept elsewhere."""

    directory: Path

    @property
    def ca(self) -> Path:
        """Certificate of the authority, which every Site gets."""
        return self.directory / "ca.pem"

    @property
    def ca_key(self) -> Path:
        """The authority's private key."""
        return self.directory / "ca.key"

    @property
    def server(self) -> Path:
        """SuperLink's certificate."""
        return self.directory / "server.pem"

    @property
    def server_key(self) -> Path:
        """SuperLink's private key."""
        return self.directory / "server.key"


def make_certificates(directory: Path, names: list[str]) -> CertificateFiles:
    """Make an authority and a server certificate for these names and addresses, besides those of its own machine.

    Raises
    ------
    CertificatesRefused
        If one of the files is there already, or a name is none.
    """
    files = CertificateFiles(directory)
    for path in (files.ca, files.ca_key, files.server, files.server_key):
        if path.exists():
            raise CertificatesRefused(
                f"{path} is there already and is not overwritten. `renew` makes a new certificate of the same names."
            )
    alternatives = _alternatives([*names, *OWN_MACHINE])
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fedcost consortium")])
    ca = (
        _begun(subject, subject, ca_key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(ca_key, hashes.SHA384())
    )
    _write(files.ca_key, _private(ca_key), 0o600)
    _write(files.ca, ca.public_bytes(serialization.Encoding.PEM), 0o644)
    _issue(files, ca, ca_key, alternatives)
    return files


def renew_certificate(directory: Path) -> CertificateFiles:
    """Replace the server's certificate and key by new ones of the same names, under the same authority.

    Raises
    ------
    CertificatesRefused
        If the authority's key or the old certificate is not there, or the authority itself ends too soon.
    """
    files = CertificateFiles(directory)
    try:
        ca = x509.load_pem_x509_certificate(files.ca.read_bytes())
        ca_key = serialization.load_pem_private_key(files.ca_key.read_bytes(), None)
        old = x509.load_pem_x509_certificate(files.server.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificatesRefused(f"A renewal needs ca.pem, ca.key and server.pem in {directory}.") from error
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    if ca.not_valid_after_utc < datetime.now(UTC) + timedelta(days=SERVER_DAYS):
        raise CertificatesRefused(
            f"The authority itself is valid only until {ca.not_valid_after_utc:%d %B %Y}. Make a new one in another "
            "folder, and give its ca.pem to every Site."
        )
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    _issue(files, ca, ca_key, names)
    return files


def certificates_of_machine(directory: Path) -> CertificateFiles:
    """Return certificates for this machine's own addresses, made or renewed where they are missing or end soon."""
    files = CertificateFiles(directory)
    if not files.server.exists():
        return make_certificates(directory, [])
    if expires_at(files.server) < datetime.now(UTC) + timedelta(days=WARN_DAYS):
        return renew_certificate(directory)
    return files


def expires_at(certificate: Path) -> datetime:
    """Return until when a certificate is valid.

    Raises
    ------
    CertificatesRefused
        If the file holds none.
    """
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise CertificatesRefused(f"{certificate} holds no certificate that can be read.") from error


def told_expiry(certificate: Path, now: datetime) -> str:
    """Return a sentence of how long a certificate is valid."""
    end = expires_at(certificate)
    days = (end - now).days
    if end <= now:
        return f"{certificate.name} EXPIRED on {end:%d %B %Y}. No Site can connect; renew it."
    return f"{certificate.name} is valid until {end:%d %B %Y}, {days} days." + (
        " Renew it soon." if days < WARN_DAYS else ""
    )


def _issue(
    files: CertificateFiles,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: x509.SubjectAlternativeName,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fedcost SuperLink")])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _begun(subject, ca.subject, key.public_key(), SERVER_DAYS)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA384())
    )
    _write(files.server_key, _private(key), 0o600)
    _write(files.server, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks differ a little
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: list[str]) -> x509.SubjectAlternativeName:
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            if not name.isascii() or any(character in name for character in " :/@") or not name:
                raise CertificatesRefused(f"{name!r} is neither a host name nor an address.") from None
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_suffix(f"{path.suffix}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def main(arguments: list[str]) -> int:
    """Do what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fl.runtime.certificates", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="an authority and a server certificate")
    make.add_argument("directory", type=Path)
    make.add_argument("names", nargs="+", help="host names and addresses by which Sites reach SuperLink")
    for command, explained in (("renew", "a new certificate of the same names"), ("show", "until when")):
        commands.add_parser(command, help=explained).add_argument("directory", type=Path)
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "make":
            make_certificates(asked.directory, asked.names)
        elif asked.command == "renew":
            renew_certificate(asked.directory)
        files = CertificateFiles(asked.directory)
        for certificate in (files.ca, files.server):
            print(told_expiry(certificate, datetime.now(UTC)))
    except CertificatesRefused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
