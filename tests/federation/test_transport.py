"""SuperLink over TLS: who may connect, for whom a SuperNode answers, and what of SuperLink may be called by whom.

A hub with one Site beside it, and another Site's SuperNode as a process of its own, as on another machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, RegisterNodeFleetRequest
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from sqlalchemy import select

from bench.consortium import PROJECT_ROOT, Consortium
from db.central import Institution
from db.embedded import EmbeddedPostgres
from db.engines import engine_for
from db.states import RunStatus
from db.supernode_keys import SupernodeKey
from fl.exchange import FOREIGN
from fl.node_keys import fingerprint, make_private_key, public_line, public_pem, read_private_key
from fl.runtime.certificates import CertificateFiles, expires_at, make_certificates
from fl.runtime.superlink_control import SuperLinkControl
from fl.runtime.superlink_guard import CONTROL_SECRET
from fl.settings import RunSettings
from tests.federation.conftest import consortium_databases

EVERYWHERE = "0.0.0.0"  # noqa: S104 - refused
QUICK = RunSettings(local_epochs=1, local_only=False)


@dataclass
class Hub:
    """A hub whose SuperLink speaks TLS, with the Site of the northeast; the southwest is elsewhere."""

    consortium: Consortium
    certificates: CertificateFiles
    southwest_url: str
    keys: Path

    @property
    def address(self) -> str:
        """Where SuperLink listens."""
        command = self.consortium.processes()["superlink"].cmdline()
        return f"127.0.0.1:{command[command.index('--port') + 1]}"

    def new_key(self, name: str) -> Path:
        """Make a key that nobody has registered."""
        path = self.keys / f"{name}.key"
        make_private_key(path)
        return path

    def register(self, key: Path, code: str) -> int:
        """Do what the Institutions page does; return the id of the key's row."""
        line = public_line(read_private_key(key))
        with self.consortium.central() as session:
            institution = session.scalars(select(Institution).where(Institution.code == code)).one()
            row = SupernodeKey(institution_id=institution.id, public_key=line, fingerprint=fingerprint(line))
            session.add(row)
            session.flush()
            return row.id

    def row(self, key_id: int) -> SupernodeKey:
        """Read a key's row."""
        with self.consortium.central() as session:
            return session.get_one(SupernodeKey, key_id)

    def revoke(self, key_id: int) -> None:
        """Do what the Institutions page does."""
        with self.consortium.central() as session:
            row = session.get_one(SupernodeKey, key_id)
            row.revoked_at, row.flwr_node_id = row.registered_at, None

    @contextmanager
    def supernode(self, key: Path, institution: str = "southwest") -> Iterator[subprocess.Popen[bytes]]:
        """Run a SuperNode as a hospital does."""
        log = self.keys / f"{key.stem}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fl.runtime.supernode"],
                cwd=PROJECT_ROOT,
                env={
                    **os.environ,
                    "INSTITUTION": institution,
                    "SITE_DATABASE_URL": self.southwest_url,
                    "SUPERLINK_ADDRESS": self.address,
                    "SUPERLINK_ROOT_CERTIFICATES": str(self.certificates.ca),
                    "SUPERNODE_KEY": str(key),
                    "FLWR_HOME": str(self.keys / f"{key.stem}-home"),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def connected(self) -> set[str]:
        """Return the codes of the Sites that the supervisor says are connected."""
        status = self.consortium.status()
        return (
            {code for code, said in status.sites.items() if said["state"] == "connected"} if status else set()
        )


def _eventually(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def hub(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("transport")
    certificates = make_certificates(folder / "certificates", ["hub.test.local"])
    urls = consortium_databases(postgres_server, ("northeast", "southwest"))
    here = replace(urls, train_sites={"northeast": urls.train_sites["northeast"]})
    environment = {
        "SUPERLINK_CA_CERTIFICATE": str(certificates.ca),
        "SUPERLINK_CERTIFICATE": str(certificates.server),
        "SUPERLINK_KEY": str(certificates.server_key),
    }
    with Consortium(here, folder / "hub", environment=environment) as consortium:
        consortium.wait_until_up()
        yield Hub(consortium, certificates, urls.train_sites["southwest"], folder)
    for url in (urls.central, *urls.sites.values()):
        engine_for(url).dispose()


def _fleet(hub: Hub, key: Path, *, plain: bool = False, ca: Path | None = None) -> FleetHttpClient:
    """Return Flower's own connection of a SuperNode."""
    private = read_private_key(key)
    return FleetHttpClient.from_server_address(
        hub.address,
        plain,
        None if plain else (ca or hub.certificates.ca).read_bytes(),
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperNode"),
            NodeAuthHttpInterceptor(private, private.public_key()),
        ],
    )


def _activation(key: Path) -> ActivateNodeRequest:
    return ActivateNodeRequest(
        public_key=public_pem(public_line(read_private_key(key))), heartbeat_interval=30
    )


def test_plain_text_is_refused_and_a_supernode_trusts_only_the_consortiums_authority(
    hub: Hub, tmp_path: Path
) -> None:
    key = hub.new_key("registered")
    key_id = hub.register(key, "southwest")
    _eventually(lambda: hub.row(key_id).flwr_node_id is not None)
    with _fleet(hub, key, plain=True) as client, pytest.raises(httpx.TransportError):
        client.ActivateNode(_activation(key))
    other = make_certificates(tmp_path / "other", ["hub.test.local"])
    untrusted = pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED")
    with _fleet(hub, key, ca=other.ca) as client, untrusted:
        client.ActivateNode(_activation(key))
    with _fleet(hub, key) as client:
        assert str(client.ActivateNode(_activation(key)).node_id) == hub.row(key_id).flwr_node_id
    hub.revoke(key_id)
    _eventually(lambda: hub.connected() == {"northeast"})


def test_a_supernode_cannot_register_its_own_key_and_an_unregistered_one_is_refused(hub: Hub) -> None:
    key = hub.new_key("stranger")
    pem = public_pem(public_line(read_private_key(key)))
    with _fleet(hub, key) as client:
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            client.RegisterNode(RegisterNodeFleetRequest(public_key=pem))
        with pytest.raises(httpx.HTTPStatusError):
            client.ActivateNode(_activation(key))
    with hub.supernode(key) as process:
        assert process.wait(90) != 0
    said = (hub.keys / "stranger.log").read_text()
    assert "does not accept this SuperNode" in said
    assert fingerprint(public_line(read_private_key(key))) in said


def test_only_the_supervisor_may_have_superlink_start_something(hub: Hub) -> None:
    """Else every Site, which can reach the port, could run programs at the hub, beside the central database."""
    ca = hub.certificates.ca.read_bytes()
    for secret in ("", "guessed"):
        control = SuperLinkControl(hub.address, ca, secret)
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            control.nodes()
        control.close()
    secret = hub.consortium.processes()["superlink"].environ()[CONTROL_SECRET]
    control = SuperLinkControl(hub.address, ca, secret)
    assert len(control.nodes()) >= 1
    control.close()
    for process in hub.consortium.processes()["superlink"].children(recursive=True):
        assert CONTROL_SECRET not in process.environ()


def test_a_run_crosses_with_a_site_elsewhere_until_its_key_is_revoked(hub: Hub) -> None:
    key = hub.new_key("southwest")
    key_id = hub.register(key, "southwest")
    _eventually(lambda: hub.row(key_id).flwr_node_id is not None)
    with hub.supernode(key) as process:
        _eventually(lambda: hub.connected() == {"northeast", "southwest"})
        run_id = hub.consortium.request_run(num_rounds=1, settings=QUICK)
        run = hub.consortium.wait_until_ended(run_id)
        assert (run.status, run.error) == (RunStatus.COMPLETED, None)
        assert [row.clients_participated for row in hub.consortium.rounds(run_id)] == [2]
        nodes = {row.institution.code: row.flwr_node_id for row in hub.consortium.site_results(run_id)}
        assert nodes["southwest"] == hub.row(key_id).flwr_node_id
        process.kill()
        process.wait()
    with hub.supernode(key) as process:  # at once: its predecessor is signed off by it
        _eventually(lambda: "connected as SuperNode" in (hub.keys / "southwest.log").read_text())
        assert "signed off" in (hub.keys / "southwest.log").read_text()
        hub.revoke(key_id)
        assert process.wait(60) != 0
    _eventually(lambda: hub.connected() == {"northeast"})
    with hub.supernode(key) as process:
        assert process.wait(90) != 0, "a revoked key lets nobody in again"


def test_a_supernode_that_speaks_for_another_institution_than_its_keys_is_not_believed(hub: Hub) -> None:
    key = hub.new_key("pretender")
    key_id = hub.register(key, "southwest")
    _eventually(lambda: hub.row(key_id).flwr_node_id is not None)
    with hub.supernode(key, institution="northeast"):
        _eventually(lambda: "southwest" in hub.connected())
        settings = RunSettings(local_epochs=1, local_only=False, min_sites=1, round_time_limit=20)
        run_id = hub.consortium.request_run(num_rounds=1, settings=settings)
        hub.consortium.wait_until_ended(run_id)
    said = {(row.institution.code, row.outcome, row.reason) for row in hub.consortium.site_results(run_id)}
    assert {reason for code, _, reason in said if code == "southwest"} == {FOREIGN}
    assert {outcome for code, outcome, _ in said if code == "northeast"} == {"ok"}
    nodes = {
        row.flwr_node_id for row in hub.consortium.site_results(run_id) if row.institution.code == "northeast"
    }
    assert hub.row(key_id).flwr_node_id not in nodes


def test_operators_see_until_when_the_certificate_is_valid(hub: Hub) -> None:
    status = hub.consortium.status()
    assert status is not None
    assert status.certificate_expires_at == expires_at(hub.certificates.server)
    log = (hub.consortium.data_dir / "supervisor.log").read_text()
    assert re.search(r"server\.pem is valid until \d+ \w+ \d{4}, 39\d days", log)


def test_superlink_is_restarted_and_knows_the_keys_again(hub: Hub) -> None:
    with hub.consortium.central() as session:
        before = set(
            session.scalars(select(SupernodeKey.flwr_node_id).where(SupernodeKey.revoked_at.is_(None)))
        )
    hub.consortium.processes()["superlink"].kill()

    def known_again() -> bool:
        with hub.consortium.central() as session:
            now = set(
                session.scalars(select(SupernodeKey.flwr_node_id).where(SupernodeKey.revoked_at.is_(None)))
            )
        return None not in now and not (now & before)

    _eventually(known_again)
    _eventually(lambda: hub.connected() == {"northeast"})


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"SUPERLINK_HOST": EVERYWHERE}, "needs certificates"),
        ({"SUPERLINK_HOST": EVERYWHERE, "FLWR_INSECURE": "1", "FLOWER_RUNTIME": "stock"}, "for one machine"),
        ({"SUPERLINK_CERTIFICATE": "server.pem"}, "SUPERLINK_CA_CERTIFICATE, SUPERLINK_KEY, too"),
    ],
)
def test_a_supervisor_that_would_serve_others_in_the_clear_does_not_start(
    changed: dict[str, str], sentence: str
) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "fl.runtime.supervisor"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "CENTRAL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", **changed},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert refused.returncode != 0 and sentence in refused.stderr
