"""Certificates of SuperLink, and the keys of SuperNodes: made once, readable by their owner, told apart."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fl.node_keys import (
    BadKey,
    fingerprint,
    make_private_key,
    public_line,
    public_pem,
    read_private_key,
    read_public_line,
)
from fl.runtime import certificates, supernode_key
from fl.runtime.certificates import CertificatesRefused, make_certificates, renew_certificate, told_expiry


def _names(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def test_certificates_are_for_the_given_names_and_the_own_machine_and_their_keys_are_private(
    tmp_path: Path,
) -> None:
    files = make_certificates(tmp_path / "tls", ["hub.example.org", "10.1.2.3"])
    assert _names(files.server) == {"hub.example.org", "10.1.2.3", "localhost", "127.0.0.1", "::1"}
    assert {path.stat().st_mode & 0o777 for path in (files.ca_key, files.server_key)} == {0o600}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.server, files.server_key)
    x509.load_pem_x509_certificate(files.server.read_bytes()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(files.ca.read_bytes())
    )


def test_nothing_is_overwritten_and_a_renewal_keeps_authority_and_names(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, ["hub.example.org"])
    before = files.ca.read_bytes(), files.server.read_bytes(), files.server_key.read_bytes()
    with pytest.raises(CertificatesRefused, match="not overwritten"):
        make_certificates(tmp_path, ["hub.example.org"])
    assert (files.ca.read_bytes(), files.server.read_bytes(), files.server_key.read_bytes()) == before
    renew_certificate(tmp_path)
    assert files.ca.read_bytes() == before[0] and files.server.read_bytes() != before[1]
    assert files.server_key.read_bytes() != before[2] and files.server_key.stat().st_mode & 0o777 == 0o600
    assert "hub.example.org" in _names(files.server)
    files.ca_key.unlink()
    with pytest.raises(CertificatesRefused, match=r"ca\.key"):
        renew_certificate(tmp_path)


@pytest.mark.parametrize("name", ["", "two words", "http://hub", "hub:8000"])
def test_what_is_no_name_makes_no_certificate(tmp_path: Path, name: str) -> None:
    with pytest.raises(CertificatesRefused, match="neither a host name nor an address"):
        make_certificates(tmp_path, [name])
    assert not list(tmp_path.iterdir())


def test_the_expiry_is_told_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert certificates.main(["make", str(tmp_path), "hub"]) == 0
    assert "server.pem is valid until" in capsys.readouterr().out
    assert certificates.main(["make", str(tmp_path), "hub"]) == 1
    server, now = tmp_path / "server.pem", datetime.now(UTC)
    assert "396 days." in told_expiry(server, now) and "Renew" not in told_expiry(server, now)
    assert "Renew it soon" in told_expiry(server, now + timedelta(days=380))
    assert "EXPIRED" in told_expiry(server, now + timedelta(days=400))


def test_a_supernodes_key_is_made_once_and_its_public_half_told_as_openssh_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "supernode.key"
    assert supernode_key.main([str(file)]) == 0
    first, told = capsys.readouterr()
    assert file.stat().st_mode & 0o777 == 0o600 and "Made" in told
    assert supernode_key.main([str(file)]) == 0
    assert capsys.readouterr().out == first
    with pytest.raises(FileExistsError):
        make_private_key(file)
    line = read_public_line(first + " a comment")
    assert fingerprint(line) in told
    (tmp_path / "key.pub").write_text(line)
    try:
        openssh = subprocess.run(
            ["ssh-keygen", "-l", "-f", str(tmp_path / "key.pub")], capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        return
    assert fingerprint(line) in openssh.stdout


def test_a_public_key_is_read_as_openssh_and_as_pem_and_nothing_else(tmp_path: Path) -> None:
    make_private_key(tmp_path / "key")
    private = read_private_key(tmp_path / "key")
    line = public_line(private)
    assert read_public_line(public_pem(line).decode()) == read_public_line(f"  {line} me@here\n") == line
    small = ec.generate_private_key(ec.SECP192R1()).public_key()
    pem = small.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for wrong in ("", "hello", "ecdsa-sha2-nistp384 AAAA", line[:-9], pem.decode(), "ä" * 50):
        with pytest.raises(BadKey, match="not a SuperNode's public key"):
            read_public_line(wrong)
    with pytest.raises(BadKey, match="must never leave"):
        read_public_line((tmp_path / "key").read_text())
