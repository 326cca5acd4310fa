"""A hub and two Sites as docker-compose.yml has them, run by hand: apart from each other, and through their proxies.

Each party has its place: a network namespace where root may make one, otherwise ports of its own on this machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import psycopg2
import pytest
from sqlalchemy import make_url
from websockets.sync.client import connect

from tests.federation.deployed import DOMAIN, PARTIES, PASSWORD, SITES, Deployment, deployed, eventually

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None and not os.environ.get("CI"), reason="nginx is not installed (nginx-light)"
)
pytestmark = needs_nginx


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployment")) as running:
        yield running


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

    eventually(lambda: connections() == dict.fromkeys(SITES, "connected"), 300)
    asked = {"num_rounds": 2, "settings": {"local_epochs": 1, "local_only": False}}
    answer = deployment.call("hub", "POST", "/api/training/runs", token=admin, json=asked)
    assert answer.status_code == 202, answer.text
    address = f"/api/training/runs/{answer.json()['id']}"
    eventually(lambda: deployment.call("hub", "GET", address, token=admin).json()["finished_at"] is not None)
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
    eventually(lambda: "is valid until" in hub.output("hub-federation-second"))  # it has begun
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
