"""`python -m deploy.make_secrets FOLDER --domain NAME --site CODE …`: every secret that docker-compose.yml asks for.

Passwords are random; each lies in a file of its own, whole addresses of databases too. Nothing is overwritten, so the
command may be repeated with one more --site. The folder is of mode 0700, so only its owner gets in; the files in it may
be read by all, because each container runs as another user and is given its own files only.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from fl.node_keys import fingerprint, make_private_key, public_line, read_private_key
from fl.runtime.certificates import CertificateFiles, make_certificates

SUPERLINK_NAMES = ("hub-federation",)  # by which the services of the compose file reach it


def make_secrets(
    folder: Path, domain: str, sites: list[str], superlink_names: tuple[str, ...] = SUPERLINK_NAMES
) -> list[str]:
    """Write what is not there yet; return sentences for the operator.

    Parameters
    ----------
    domain
        The host name of the proxies, and by which Sites elsewhere reach SuperLink.
    superlink_names
        Further names and addresses by which Sites reach it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    told = _make_hub(folder / "hub", domain, sites, superlink_names)
    for site in sites:
        told += _make_site(folder / site, folder / "hub", domain, site)
    return told


def _make_hub(hub: Path, domain: str, sites: list[str], superlink_names: tuple[str, ...]) -> list[str]:
    passwords = _Database("hub-database", "central", hub)
    passwords.write_common()
    _write(hub / "owner_url", lambda: passwords.url("central", secrets.token_urlsafe(24)))
    _write(hub / "app_url", lambda: passwords.url("app_central", secrets.token_urlsafe(24)))
    urls: dict[str, str] = json.loads((hub / "site_urls").read_text()) if (hub / "site_urls").exists() else {}
    for site in sites:
        urls.setdefault(site, passwords.url(f"central_{site}", secrets.token_urlsafe(24)))
    _replace(hub / "site_urls", json.dumps(urls))
    _certificates(hub / "superlink", [domain, *superlink_names])
    _certificates(hub / "proxy", [domain])
    return [
        f"Give every Site {hub / 'superlink' / 'ca.pem'}; keep ca.key elsewhere, it is for renewals only."
    ]


def _make_site(site: Path, hub: Path, domain: str, code: str) -> list[str]:
    database = f"site_{code}"
    passwords = _Database(f"{code}-database", database, site)
    passwords.write_common()
    for name, role in (
        ("owner_urls", database),
        ("app_urls", f"app_{database}"),
        ("train_urls", f"train_{database}"),
    ):
        _write(
            site / name, lambda role=role: json.dumps({code: passwords.url(role, secrets.token_urlsafe(24))})
        )  # type: ignore[misc]
    _replace(site / "train_url", json.loads((site / "train_urls").read_text())[code])
    _replace(site / "central_url", json.loads((hub / "site_urls").read_text())[code])
    _certificates(site / "proxy", [domain])
    key = site / "supernode.key"
    if not key.exists():
        make_private_key(key)
    key.chmod(0o444)
    line = public_line(read_private_key(key))
    return [f"Register this key for {code} on the hub's Institutions page ({fingerprint(line)}):\n{line}"]


class _Database:
    """The addresses of one party's database server."""

    def __init__(self, host: str, database: str, folder: Path) -> None:
        self._host, self._database, self._folder = host, database, folder
        folder.mkdir(exist_ok=True)

    def url(self, role: str, password: str, database: str | None = None) -> str:
        """Return the address by which a role connects."""
        return f"postgresql+psycopg2://{role}:{password}@{self._host}:5432/{database or self._database}"

    def write_common(self) -> None:
        """Write what hub and Sites have alike."""
        password = _write(self._folder / "postgres_password", lambda: secrets.token_urlsafe(24))
        _write(self._folder / "admin_url", lambda: self.url("postgres", password, "postgres"))
        _write(self._folder / "jwt_secret", lambda: secrets.token_urlsafe(48))
        _write(self._folder / "cookie_secret", lambda: secrets.token_urlsafe(48))


def _write(path: Path, content: Callable[[], str]) -> str:
    if not path.exists():
        _replace(path, content())
    return path.read_text()


def _replace(path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(0o444)


def _certificates(folder: Path, names: list[str]) -> None:
    files = CertificateFiles(folder)
    if not files.ca.exists():
        make_certificates(folder, names)
    files.server_key.chmod(0o444)


def main(arguments: list[str]) -> None:
    """Write the secrets and say what remains to be done."""
    parser = argparse.ArgumentParser(prog="python -m deploy.make_secrets", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--domain", required=True, help="host name of the proxies and of SuperLink")
    parser.add_argument("--site", action="append", default=[], dest="sites", help="code of an institution")
    asked = parser.parse_args(arguments)
    for sentence in make_secrets(asked.folder, asked.domain, asked.sites):
        print(sentence)


if __name__ == "__main__":
    main(sys.argv[1:])
