"""SuperLink and the SuperNodes of this machine: started together, watched, restarted when one dies."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from db.ports import free_port
from fl.runtime.children import ChildRegister, marked_processes, start_child, stop_processes
from fl.runtime.environment import (
    FEDERATION_MARK,
    PROJECT_ROOT,
    SupervisorEnvironment,
    flower_environment,
)
from fl.runtime.site_keys import SiteKeys
from fl.runtime.superlink_control import SuperLinkControl
from fl.runtime.superlink_guard import CONTROL_SECRET

log = logging.getLogger(__name__)
RESTART_SECONDS = 1.0  # after a death; doubled up to the limit while it keeps dying
RESTART_LIMIT_SECONDS = 30.0
KEYS_SECONDS = 1.0  # from one look at the registered keys to the next


class SuperLinkDied(Exception):
    """SuperLink ended by itself; the whole federation must be started again."""


@dataclass
class Site:
    """One SuperNode that this federation keeps alive.

    Attributes
    ----------
    state
        `starting`, `connected` or `down`.
    """

    code: str
    process: psutil.Process | None = None
    lifeline: socket.socket | None = None
    node_id: int | None = None
    state: str = "down"
    start_again_at: float = 0.0
    backoff: float = RESTART_SECONDS
    received: bytes = b""


@dataclass
class Federation:
    """Starts, watches and stops one SuperLink and the SuperNodes."""

    environment: SupervisorEnvironment
    register: ChildRegister
    keys: SiteKeys
    sites: dict[str, Site] = field(default_factory=dict)
    control: SuperLinkControl | None = None
    _superlink: subprocess.Popen[bytes] | None = None
    _forkserver: subprocess.Popen[bytes] | None = None
    _fork_control: socket.socket | None = None
    _forkserver_said: bytes = b""
    _address: str = ""
    _control_secret: str = ""
    _next_look_at_keys: float = 0.0
    _urls: dict[str, str] = field(default_factory=dict)

    def follow(self, urls: Mapping[str, str]) -> None:
        """Run a SuperNode for each of these institutions and for no other.

        Parameters
        ----------
        urls
            Institution code -> URL of its database. `poll` starts what is new; what is not named any more, or has
            another URL, is stopped at once.
        """
        for code in [code for code in self.sites if urls.get(code) != self._urls.get(code)]:
            self._stop_site(self.sites.pop(code))
        self._urls = dict(urls)
        if self._superlink is not None:
            for code in urls.keys() - self.sites.keys():
                self.sites[code] = Site(code)

    def start(self) -> None:
        """Start everything; `poll` brings it up without blocking."""
        self.keys.begin()
        self._next_look_at_keys = 0.0
        self._control_secret = secrets.token_urlsafe(32)
        self.sites = {code: Site(code) for code in self._urls}
        port = self.environment.superlink_port or free_port()
        self._address = f"{_reachable(self.environment.superlink_host)}:{port}"
        self._superlink = start_child(
            [
                *self._superlink_program(),
                *self._superlink_tls(),
                "--host",
                self.environment.superlink_host,
                "--port",
                str(port),
                "--disable-runtime-dependency-installation",
            ],
            environment=self._child_environment(
                "superlink",
                CENTRAL_DATABASE_URL=self.environment.central_database_url,
                FLOWER_RUNTIME=self.environment.runtime,
                SERVERAPP_LOG=str(self._log("serverapp")),
                **{CONTROL_SECRET: self._control_secret},
            ),
            log_file=self._log("superlink"),
            cwd=PROJECT_ROOT,
        )
        self.register.add("superlink", self._superlink.pid)

    @property
    def mark(self) -> str:
        """What every process of this federation carries in its environment."""
        return str(self.environment.data_dir)

    @property
    def up(self) -> bool:
        """Whether SuperLink answers and every SuperNode of this machine is connected."""
        return self.control is not None and all(site.state == "connected" for site in self.sites.values())

    def poll(self) -> None:
        """Notice what changed since the last call; start what is due.

        Raises
        ------
        SuperLinkDied
            If SuperLink ended.
        """
        assert self._superlink is not None
        if self._superlink.poll() is not None:
            raise SuperLinkDied
        if self.environment.runtime == "warm" and self.sites and self._forkserver is None:
            self._start_forkserver()
        if self.control is None:
            if not self._superlink_answers():
                return
            self.control = SuperLinkControl(self._address, self._root_certificates(), self._control_secret)
        if time.monotonic() >= self._next_look_at_keys:
            self.keys.follow(self.control, self.sites.keys())
            self._next_look_at_keys = time.monotonic() + KEYS_SECONDS
        if self._forkserver is not None and self._forkserver.poll() is not None:
            log.error("the fork server ended; starting it again")
            self._start_forkserver()
        for site in self.sites.values():
            self._poll_site(site)

    def stop(self) -> None:
        """Stop everything that carries this federation's mark, also what a killed predecessor left."""
        for site in self.sites.values():
            if site.lifeline is not None:
                site.lifeline.close()
                site.lifeline = None
        stop_processes(marked_processes(FEDERATION_MARK, self.mark))
        for child in (self._superlink, self._forkserver):
            if child is not None:
                child.wait()
        if self.control is not None:
            self.control.close()
        if self._fork_control is not None:
            self._fork_control.close()
        self.control = self._superlink = self._forkserver = self._fork_control = None
        self.sites = {}
        self.register.clear()

    def _superlink_program(self) -> list[str]:
        if self.environment.runtime == "stock":
            return ["flower-superlink"]
        return [sys.executable, "-m", "fl.runtime.superlink"]

    def _superlink_tls(self) -> list[str]:
        tls = self.environment.tls
        if tls is None:
            return ["--insecure"]
        files = ["--ssl-ca-certfile", str(tls.ca), "--ssl-certfile", str(tls.certificate)]
        return [*files, "--ssl-keyfile", str(tls.key), "--enable-supernode-auth"]

    def _root_certificates(self) -> bytes | None:
        return self.environment.tls.ca.read_bytes() if self.environment.tls else None

    def _superlink_answers(self) -> bool:
        certificates = self._root_certificates()
        scheme, verify = ("http", None) if certificates is None else ("https", _trusting(certificates))
        try:
            return (
                httpx.get(f"{scheme}://{self._address}/health", timeout=1, verify=verify or True).status_code
                < 500
            )
        except httpx.HTTPError:
            return False

    def wake_sites(self) -> None:
        """Tell the warm SuperNodes of this machine that a Run begins, so that none sleeps through its first message."""
        for site in self.sites.values():
            if site.lifeline is not None:
                with contextlib.suppress(OSError):
                    site.lifeline.send(b"\n")

    def serverapp_runs(self) -> bool:
        """Tell whether a ServerApp process lives below SuperLink; Flower itself notices its death after a minute."""
        assert self._superlink is not None
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self._superlink.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if process.status() != psutil.STATUS_ZOMBIE and "flwr-serverapp" in " ".join(
                        process.cmdline()
                    ):
                        return True
        return False

    def remote_sites(self) -> set[str]:
        """Return the codes of the institutions whose SuperNode is connected from another machine."""
        if self.control is None or not self.keys.others:
            return set()
        online = [node.node_id for node in self.control.nodes() if node.online]
        return self.keys.codes_of(online) - self.sites.keys()

    def _sign_off(self, site: Site) -> None:
        """Tell SuperLink that a SuperNode is gone, so that nobody waits for its answer."""
        if self.control is not None and site.node_id is not None:
            try:
                self.control.deactivate(site.node_id, self.keys.private_key(site.code))
            except (httpx.HTTPError, RuntimeError):
                log.info("SuperNode %s was signed off already", site.node_id)

    def _poll_site(self, site: Site) -> None:
        if site.process is None:
            if time.monotonic() >= site.start_again_at:
                self._start_site(site)
        elif not _alive(site.process):
            self._site_died(site)
        elif site.lifeline is not None:
            self._read_lifeline(site)
        elif site.state == "starting":
            self._look_for_stock_node(site)

    def _start_site(self, site: Site) -> None:
        if self.keys.node_of(site.code) is None:  # SuperLink would refuse it
            return
        site.state = "starting"
        if self.environment.runtime == "stock":
            self._start_stock_site(site)
        elif self._fork_server_ready():
            self._fork_site(site)

    def _start_stock_site(self, site: Site) -> None:
        tls = self.environment.tls
        child = start_child(
            [
                "flower-supernode",
                *(["--root-certificates", str(tls.ca)] if tls else ["--insecure"]),
                "--auth-supernode-private-key",
                str(self.keys.key_file(site.code)),
                "--superlink",
                self._address,
                "--port",
                str(free_port()),
                "--node-config",
                f'institution="{site.code}"',
            ],
            environment=self._child_environment(site.code, SITE_DATABASE_URL=self._urls[site.code]),
            log_file=self._log(f"supernode-{site.code}"),
            cwd=self.environment.data_dir,
        )
        site.process = psutil.Process(child.pid)
        self.register.add(site.code, child.pid)

    def _fork_site(self, site: Site) -> None:
        assert self._fork_control is not None
        ours, theirs = socket.socketpair()
        socket.send_fds(self._fork_control, [b"f"], [theirs.fileno()])
        theirs.close()
        request = {
            "institution": site.code,
            "site_database_url": self._urls[site.code],
            "superlink_address": self._address,
            "flwr_home": str(self._home(site.code)),
            "key_file": str(self.keys.key_file(site.code)),
            "root_certificates": str(self.environment.tls.ca) if self.environment.tls else None,
            "log_file": str(self._log(f"supernode-{site.code}")),
        }
        ours.sendall(json.dumps(request).encode() + b"\n")
        ours.settimeout(10)
        pid = int(json.loads(ours.makefile("rb", buffering=0).readline())["pid"])
        ours.setblocking(False)
        site.lifeline, site.process, site.received = ours, psutil.Process(pid), b""
        self.register.add(site.code, pid)

    def _read_lifeline(self, site: Site) -> None:
        assert site.lifeline is not None
        try:
            received = site.lifeline.recv(4096)
        except BlockingIOError:
            return
        if not received:
            self._site_died(site)
            return
        *lines, site.received = (site.received + received).split(b"\n")
        for line in lines:
            self._connected(site, int(json.loads(line)["node_id"]))

    def _look_for_stock_node(self, site: Site) -> None:
        """An unmodified SuperNode does not say that it is connected; SuperLink does."""
        assert self.control is not None
        node_id = self.keys.node_of(site.code)
        if node_id is not None and any(
            node.node_id == node_id and node.online for node in self.control.nodes()
        ):
            self._connected(site, node_id)

    def _connected(self, site: Site, node_id: int) -> None:
        log.info("site %s is connected as SuperNode %s", site.code, node_id)
        site.node_id, site.state, site.backoff = node_id, "connected", RESTART_SECONDS

    def _site_died(self, site: Site) -> None:
        log.error("the SuperNode of %s ended; starting it again in %.0f s", site.code, site.backoff)
        self._stop_site(site)
        site.state, site.start_again_at = "down", time.monotonic() + site.backoff
        site.backoff = min(2 * site.backoff, RESTART_LIMIT_SECONDS)

    def _stop_site(self, site: Site) -> None:
        if site.lifeline is not None:
            site.lifeline.close()
        if site.process is not None:
            stop_processes([site.process])
        self._sign_off(site)
        site.process = site.lifeline = site.node_id = None

    def _start_forkserver(self) -> None:
        ours, theirs = socket.socketpair()
        self._forkserver = start_child(
            [sys.executable, "-m", "fl.runtime.forkserver", str(theirs.fileno())],
            environment=self._child_environment("forkserver"),
            log_file=self._log("forkserver"),
            cwd=PROJECT_ROOT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._fork_control = ours
        self._forkserver_said = b""
        self.register.add("forkserver", self._forkserver.pid)

    def _fork_server_ready(self) -> bool:
        assert self._fork_control is not None
        if not self._forkserver_said and select.select([self._fork_control], [], [], 0)[0]:
            self._forkserver_said = self._fork_control.recv(64)
        return bool(self._forkserver_said)

    def _child_environment(self, name: str, **extra: str) -> dict[str, str]:
        return flower_environment(self._home(name), **{FEDERATION_MARK: self.mark}, **extra)

    def _home(self, name: str) -> Path:
        return self.environment.data_dir / "flwr" / name

    def _log(self, name: str) -> Path:
        return self.environment.data_dir / "logs" / f"{name}.log"


def _alive(process: psutil.Process) -> bool:
    try:
        if process.ppid() == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _trusting(certificates: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates.decode("ascii"))
    return context


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # compared, not bound  # noqa: S104  # nosec B104
