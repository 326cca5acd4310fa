"""Parties of a consortium apart from each other on one machine: in network namespaces where root may make them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Place:
    """Where one party's processes run.

    Attributes
    ----------
    address
        By which the other parties reach it.
    namespace
        Name of its network namespace; None: it shares this machine's network with the others.
    """

    name: str
    address: str
    namespace: str | None

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and every process that it starts, be in the party's network while the block runs."""
        if self.namespace is None:
            yield
            return
        with Path("/proc/thread-self/ns/net").open() as home:
            _enter(Path("/var/run/netns") / self.namespace)
            try:
                yield
            finally:
                _set_namespace(home.fileno())


@contextmanager
def places(names: Sequence[str]) -> Iterator[dict[str, Place]]:
    """Make a place for each party: in namespaces joined by a bridge or, where that cannot be, all on loopback."""
    with ExitStack() as stack:
        try:
            made = _namespaces(names, stack)
        except (OSError, subprocess.CalledProcessError):
            stack.close()
            made = {name: Place(name, "127.0.0.1", None) for name in names}
        yield made


def _namespaces(names: Sequence[str], stack: ExitStack) -> dict[str, Place]:
    tag = f"{os.getpid() % 65536:x}"
    subnet = f"10.{77 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
    bridge = f"fc{tag}"
    _ip("link", "add", bridge, "type", "bridge")
    stack.callback(_ip, "link", "del", bridge)
    _ip("addr", "add", f"{subnet}.254/24", "dev", bridge)
    _ip("link", "set", bridge, "up")
    made = {}
    for number, name in enumerate(names, start=1):
        namespace, outer, inner = f"fedcost-{tag}-{name}", f"v{tag}o{number}", f"v{tag}i{number}"
        _ip("netns", "add", namespace)
        stack.callback(_ip, "netns", "del", namespace)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        _ip("link", "set", inner, "netns", namespace)
        _ip("link", "set", outer, "master", bridge, "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "addr", "add", f"{subnet}.{number}/24", "dev", inner)
        _ip("-n", namespace, "link", "set", inner, "up")
        made[name] = Place(name, f"{subnet}.{number}", namespace)
    return made


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


def _enter(namespace: Path) -> None:
    with namespace.open() as target:
        _set_namespace(target.fileno())


def _set_namespace(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def published(place: Place, port: int) -> Iterator[str]:
    """Let the others reach a loopback port of a party, as a container's network does; gives host:port."""
    if place.namespace is None:
        yield f"127.0.0.1:{port}"
        return
    with place.inside():
        listener = socket.create_server((place.address, 0))
    thread = threading.Thread(target=_pass_on, args=(place, listener, port), daemon=True)
    thread.start()
    try:
        yield f"{place.address}:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _pass_on(place: Place, listener: socket.socket, port: int) -> None:
    with place.inside(), contextlib.suppress(OSError):  # closed
        while True:
            incoming, _ = listener.accept()
            outgoing = socket.create_connection(("127.0.0.1", port))
            for source, target in ((incoming, outgoing), (outgoing, incoming)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while received := source.recv(65536):
            target.sendall(received)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
