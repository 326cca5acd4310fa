"""A hub and two Sites as docker-compose.yml has them, run by hand: apart from each other, and through their proxies.

Each party has its place: a network namespace where root may make one, otherwise ports of its own on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pandas as pd
import psutil
import psycopg2
import pytest
from sqlalchemy import make_url
from websockets.sync.client import connect

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

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None and not os.environ.get("CI"), reason="nginx is not installed (nginx-light)"
)
pytestmark = needs_nginx


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


def _eventually(condition: Callable[[], bool], seconds: float = 180.0) -> None:
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


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
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
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
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
        _eventually(lambda name=name: all(_answers(made, name, web) for web in range(len(made.webs[name]))))  # type: ignore[misc]
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


def test_no_process_of_the_hub_reaches_a_site_and_none_of_a_site_another(deployment: Deployment) -> None:
    for ours in PARTIES:
        for theirs in set(SITES) - {ours}:
            port, place = deployment.databases[theirs].port, deployment.place(theirs)
            own = make_url((deployment.parties[ours].secrets / ours / "admin_url").read_text())
            with deployment.place(ours).inside(), pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(
                    host=place.address, port=port, user="postgres", password=own.password, connect_timeout=5
                )
    for name, process in deployment.processes.items():
        party = name.split("-")[0].replace("federation", "hub")
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        told = "\n".join(f"{each.environ()} {each.cmdline()}" for each in family)
        for site in set(SITES) - {party}:
            assert f"site_{site}" not in told, f"{name} knows the database of {site}"


def test_the_hub_sees_the_sites_connected_and_a_run_crosses(deployment: Deployment) -> None:
    admin = deployment.token("hub", "admin@hub.test")

    def connections() -> dict[str, str]:
        listed = deployment.call("hub", "GET", "/api/institutions", token=admin).json()["items"]
        return {each["code"]: each["connection"] for each in listed}

    _eventually(lambda: connections() == dict.fromkeys(SITES, "connected"), 300)
    asked = {"num_rounds": 2, "settings": {"local_epochs": 1, "local_only": False}}
    answer = deployment.call("hub", "POST", "/api/training/runs", token=admin, json=asked)
    assert answer.status_code == 202, answer.text
    address = f"/api/training/runs/{answer.json()['id']}"
    _eventually(lambda: deployment.call("hub", "GET", address, token=admin).json()["finished_at"] is not None)
    run = deployment.call("hub", "GET", address, token=admin).json()
    assert (run["status"], run["error"]) == ("completed", None)
    assert [each["clients_participated"] for each in run["rounds"]] == [2, 2]


def test_a_sites_application_shows_its_own_patients_only(deployment: Deployment) -> None:
    seen = {}
    for site in SITES:
        token = deployment.token(site, f"doctor@{site}.test")
        answer = deployment.call(site, "GET", "/api/patients", token=token)
        assert answer.status_code == 200, answer.text
        seen[site] = {each["id"] for each in answer.json()["items"]}
        assert seen[site] and {each["region"] for each in answer.json()["items"]} == {site}
        other = next(each for each in SITES if each != site)
        if other in seen:
            foreign = deployment.call(site, "GET", f"/api/patients/{min(seen[other])}", token=token)
            assert foreign.status_code == 404
        # A colleague from elsewhere finds no patient here, whatever account the central database holds.
        guest = deployment.call(
            site, "POST", "/api/auth/login", json={"email": f"doctor@{other}.test", "password": PASSWORD}
        )
        if guest.status_code == 200:
            refused = deployment.call(site, "GET", "/api/patients", token=guest.json()["access_token"])
            assert refused.status_code in (403, 503)


def test_the_proxy_speaks_tls_compresses_and_closes_what_is_not_for_the_outside(
    deployment: Deployment,
) -> None:
    page = deployment.call("hub", "GET", "/")
    assert page.status_code == 200
    assert page.headers["Strict-Transport-Security"].startswith("max-age=")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert deployment.call("hub", "GET", "/_stcore/metrics").status_code == 404
    assert deployment.call("hub", "GET", "/metrics").status_code == 404
    document = deployment.call("hub", "GET", "/api/openapi.json")
    assert document.headers["Content-Encoding"] == "gzip"
    with (
        deployment.place("hub").inside(),
        socket.create_connection(
            (deployment.place("hub").address, deployment.proxies["hub"]), timeout=10
        ) as plain,
    ):
        plain.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert b"400" in plain.recv(200)


def test_a_browser_stays_with_one_of_two_processes_and_its_websocket_too(deployment: Deployment) -> None:
    with deployment.place("hub").inside(), deployment.browser("hub") as client:
        answered = {client.get("/api/health").headers["X-Answered-By"] for _ in range(8)}
        assert len(answered) == 1 and "fedcost_route" in client.cookies
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    trusted = ssl.create_default_context(
        cafile=str(deployment.parties["hub"].secrets / "hub" / "proxy" / "ca.pem")
    )
    place, port = deployment.place("hub"), deployment.proxies["hub"]
    with (
        place.inside(),
        connect(
            f"wss://{DOMAIN}:{port}/_stcore/stream",
            ssl=trusted,
            server_hostname=DOMAIN,
            sock=socket.create_connection((place.address, port)),
            origin=f"https://{DOMAIN}:{port}",  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies},
            subprotocols=["streamlit"],  # type: ignore[list-item]
        ) as stream,
    ):
        assert stream.response is not None and stream.response.headers["X-Answered-By"] in answered
    everybody = {deployment.call("hub", "GET", "/api/health").headers["X-Answered-By"] for _ in range(30)}
    assert len(everybody) == 2, "browsers are shared out over both"


def test_what_is_begun_at_one_process_goes_on_at_the_other_and_one_may_be_killed(
    deployment: Deployment,
) -> None:
    token = deployment.token("hub", "admin@hub.test", web=0)
    for web in (0, 1):
        assert deployment.call("hub", "GET", "/api/institutions", token=token, web=web).status_code == 200
    paused = deployment.call("hub", "POST", "/api/training/queue/pause", token=token, web=0)
    assert paused.status_code == 200
    assert deployment.call("hub", "POST", "/api/training/queue/resume", token=token, web=1).status_code == 200
    with deployment.place("hub").inside(), deployment.browser("hub") as client:
        headers = {"Authorization": f"Bearer {token}"}
        first = client.get("/api/institutions", headers=headers)
        killed = deployment.webs["hub"].index(int(first.headers["X-Answered-By"].rsplit(":", 1)[1]))
        process = deployment.processes[f"hub-web-{killed}"]
        os.killpg(process.pid, 9)
        process.wait()
        after = [client.get("/api/institutions", headers=headers) for _ in range(5)]
    assert {answer.status_code for answer in after} == {200}
    left = f":{deployment.webs['hub'][1 - killed]}"
    assert all(answer.headers["X-Answered-By"].endswith(left) for answer in after)
    fresh = deployment.parties["hub"].start(
        "hub-web", port=deployment.webs["hub"][killed], name=f"hub-web-{killed}"
    )
    deployment.processes[f"hub-web-{killed}"] = fresh


def test_each_party_backs_up_its_own_database(deployment: Deployment) -> None:
    for party in PARTIES:
        deployment.parties[party].once(f"{party}-backup")
        [folder] = (deployment.parties[party].folder / f"{party}-backup" / "backups").iterdir()
        names = {path.name for path in folder.iterdir()}
        assert names == {"manifest.json", "central.dump" if party == "hub" else f"{party}.dump"}


def test_one_supervisor_leads_and_a_second_waits(deployment: Deployment) -> None:
    hub = deployment.parties["hub"]
    second = hub.start("hub-federation", name="hub-federation-second")
    _eventually(lambda: "is valid until" in hub.output("hub-federation-second"))  # it has begun
    time.sleep(5)
    assert second.poll() is None
    assert "leading" not in hub.output("hub-federation-second")
    assert "leading" in hub.output("hub-federation")
    second.terminate()
    assert second.wait(20) == 0


def test_many_sign_ins_from_one_address_are_held_back(deployment: Deployment) -> None:
    """Last: the address has to wait afterwards."""
    wrong = {"email": "nobody@hub.test", "password": "wrong"}

    def try_one(number: int) -> tuple[int, str]:
        answer = deployment.call("southwest", "POST", "/api/auth/login", json=wrong)
        return answer.status_code, answer.headers.get("Server", "") if answer.status_code == 429 else ""

    with ThreadPoolExecutor(20) as pool:
        tried = list(pool.map(try_one, range(60)))
    held_back = [server for status, server in tried if status == 429]
    assert 0 < len(held_back) < 60, "some are let through, and not all of them"
    assert "nginx" in held_back
    assert deployment.call("southwest", "GET", "/api/health").status_code != 429
