"""TCP ports of this machine."""

from __future__ import annotations

import random
import socket


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on `port` now."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as probe:
        # A port whose last connections are still closing counts as free, as it does for the servers we start.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


# Below the ports that systems give to outgoing connections (Linux from 32768, the IANA's from 49152): a server that
# stops and starts again finds its own still free.
_SERVERS = range(20_000, 32_768)


def free_port() -> int:
    """Return a loopback port that nothing listens on at the moment, and that no outgoing connection will take."""
    for port in random.SystemRandom().sample(_SERVERS, 50):
        if port_is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
