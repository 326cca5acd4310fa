"""A hub and two Sites as docker-compose.yml has them, run by hand in places apart."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psycopg2

from app.auth.passwords import hash_password
from bench.consortium import load_patients
from db.central import Institution, MedicalWorker
from db.cohort import generate
from db.embedded import EmbeddedPostgres
from db.engines import engine_for, sessions_for
from db.ports import free_port
from db.states import Role
from deploy.make_secrets import SUPERLINK_NAMES, make_secrets
from fl.node_keys import public_line, read_private_key
from tests.federation.composed import Party
from tests.federation.network_places import Place, places, published

SITES = ("northeast", "southwest")
PARTIES = ("hub", *SITES)
DOMAIN = "fedcost.test.local"
PASSWORD = "a password that only this test knows"


@dataclass
class Deployment:
    """What runs.

    Attributes
    ----------
    proxies
        Party -> port of its proxy.
    webs
        Party -> loopback ports of its web processes.
    databases
        Party -> its PostgreSQL server.
    """

    parties: dict[str, Party]
    databases: dict[str, EmbeddedPostgres]
    proxies: dict[str, int] = field(default_factory=dict)
    webs: dict[str, list[int]] = field(default_factory=dict)
    processes: dict[str, Any] = field(default_factory=dict)

    def place(self, party: str) -> Place:
        """Return where a party is."""
        return self.parties[party].place

    def browser(self, party: str) -> httpx.Client:
        """Return a client of a party's proxy; it is used inside the party's place."""
        trusted = ssl.create_default_context(
            cafile=str(self.parties[party].secrets / party / "proxy" / "ca.pem")
        )
        client = httpx.Client(
            base_url=f"https://{self.place(party).address}:{self.proxies[party]}",
            verify=trusted,
            timeout=30,
            headers={"Host": DOMAIN},
        )
        client.event_hooks["request"].append(lambda request: request.extensions.update(sni_hostname=DOMAIN))
        return client

    def call(
        self, party: str, method: str, path: str, *, token: str = "", web: int | None = None, **given: Any
    ) -> httpx.Response:
        """Call a party's API through its proxy, or one of its web processes directly."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with self.place(party).inside():
            if web is not None:
                url = f"http://127.0.0.1:{self.webs[party][web]}{path}"
                return httpx.request(method, url, headers={**headers, "Host": DOMAIN}, timeout=30, **given)
            with self.browser(party) as client:
                return client.request(method, path, headers=headers, **given)

    def token(self, party: str, email: str, web: int | None = None) -> str:
        """Sign in."""
        credentials = {"email": email, "password": PASSWORD}
        answer = self.call(party, "POST", "/api/auth/login", web=web, json=credentials)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


def eventually(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Wait until something holds; fails if it does not come about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.2)


def _answers(deployment: Deployment, party: str, web: int | None = None) -> bool:
    try:
        return deployment.call(party, "GET", "/api/health", web=web).status_code in (200, 503)
    except httpx.HTTPError:
        return False


def _people() -> list[tuple[str, Role, str | None]]:
    doctors: list[tuple[str, Role, str | None]] = [
        (f"doctor@{site}.test", Role.DOCTOR, site) for site in SITES
    ]
    return [("admin@hub.test", Role.ADMIN, None), *doctors]


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """Run a hub and two Sites below a folder, each in its place, until the block ends."""
    with ExitStack() as stack:
        apart = stack.enter_context(places(PARTIES))
        print(
            "parties are apart by", "network namespaces" if apart["hub"].namespace else "ports of their own"
        )
        secrets = folder / "secrets"
        make_secrets(secrets, DOMAIN, list(SITES), (*SUPERLINK_NAMES, apart["hub"].address))
        databases = {party: _database(folder, apart[party], stack) for party in PARTIES}
        central = stack.enter_context(published(apart["hub"], databases["hub"].port))
        for party in PARTIES:
            _address_secrets(secrets / party, party, databases[party], central)
        superlink_port = free_port()
        replaced = {
            "domain": DOMAIN,
            "hub-federation:8000": f"{apart['hub'].address}:{superlink_port}",
            "8000": str(superlink_port),
        }
        parties = {
            party: Party(apart[party], folder / party, secrets, {**replaced, **_subnet(party)})
            for party in PARTIES
        }
        made = Deployment(parties, databases)
        for party in parties.values():
            stack.callback(party.stop)
        _start_databases(made)
        _start_services(made)
        yield made


def _subnet(party: str) -> dict[str, str]:
    return {f"172.30.{PARTIES.index(party) + 1}.0/24": "127.0.0.1/32"}


def _database(folder: Path, place: Place, stack: ExitStack) -> EmbeddedPostgres:
    server = EmbeddedPostgres(folder / f"{place.name}-postgres")

    def erase() -> None:
        with place.inside():
            server.erase()

    stack.callback(erase)
    with place.inside():
        server.start()
        _let_roles_in_as_the_image_does(server)
    return server


def _let_roles_in_as_the_image_does(server: EmbeddedPostgres) -> None:
    """The image asks every role for its password; which database it may enter is said by what it was granted."""
    with psycopg2.connect(server.url().replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW hba_file")
        [path] = cursor.fetchone() or ("",)
        Path(path).write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        cursor.execute("SELECT pg_reload_conf()")
    connection.close()


def _address_secrets(folder: Path, party: str, server: EmbeddedPostgres, central: str) -> None:
    for path in folder.iterdir():
        if path.is_file() and "url" in path.name:
            text = path.read_text().replace(f"{party}-database:5432", f"127.0.0.1:{server.port}")
            path.chmod(0o600)
            path.write_text(text.replace("hub-database:5432", central))
    (folder / "admin_url").write_text(server.url())


def _start_databases(made: Deployment) -> None:
    for name, party in made.parties.items():
        party.once(f"{name}-roles")
        party.once(f"{name}-migrate")
    hub = made.parties["hub"]
    hashed = hash_password(PASSWORD)
    url = (hub.secrets / "hub" / "owner_url").read_text()
    with hub.place.inside(), sessions_for(url)() as session, session.begin():
        rows = {site: Institution(code=site, name=f"{site.title()} Hospital") for site in SITES}
        session.add_all(rows.values())
        session.flush()
        for email, role, site in _people():
            session.add(
                MedicalWorker(
                    email=email,
                    password_hash=hashed,
                    name=email,
                    role=role,
                    institution_id=rows[site].id if site else None,
                )
            )
    with hub.place.inside():
        engine_for(url).dispose()
    for number, site in enumerate(SITES):
        owner = json.loads((hub.secrets / site / "owner_urls").read_text())[site]
        with made.place(site).inside():
            frame = pd.DataFrame(vars(generate(200 + 100 * number, seed=number, region=site)))
            load_patients(owner, site, frame)
            engine_for(owner).dispose()


def _start_services(made: Deployment) -> None:
    made.processes["federation"] = made.parties["hub"].start("hub-federation")
    for name, party in made.parties.items():
        made.webs[name] = [free_port() for _ in range(2 if name == "hub" else 1)]
        for number, port in enumerate(made.webs[name]):
            process = party.start(f"{name}-web", port=port, name=f"{name}-web-{number}")
            made.processes[f"{name}-web-{number}"] = process
        made.proxies[name] = free_port()
        party.start_proxy(f"{name}-proxy", made.webs[name], made.proxies[name])
    for name in PARTIES:
        eventually(lambda name=name: all(_answers(made, name, web) for web in range(len(made.webs[name]))))  # type: ignore[misc]
    admin = made.token("hub", "admin@hub.test")
    for site in SITES:
        key = public_line(read_private_key(made.parties[site].secrets / site / "supernode.key"))
        answer = made.call(
            "hub", "POST", f"/api/institutions/{site}/keys", token=admin, json={"public_key": key}
        )
        assert answer.status_code == 201, answer.text
    time.sleep(2)
    for site in SITES:
        made.processes[f"{site}-supernode"] = made.parties[site].start(f"{site}-supernode")
