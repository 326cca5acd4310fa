"""What the supervisor asks of SuperLink; leans on Flower's private parts as `fl.runtime.flower_private` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from fl.runtime.flower_private import Bundle
from fl.runtime.superlink_guard import CONTROL_HEADER


class AlreadyRegistered(Exception):
    """SuperLink knows the key already, or knew it until it was unregistered."""


@dataclass(frozen=True)
class RegisteredNode:
    """A SuperNode as SuperLink lists it."""

    node_id: int
    public_pem: bytes
    online: bool


class SuperLinkControl:
    """SuperLink's Control API, as `flwr run`, `flwr stop` and `flwr supernode` use it, without their two seconds.

    Parameters
    ----------
    root_certificates
        PEM of the authority that signed SuperLink's certificate; None speaks plain text.
    secret
        What our SuperLink wants to see; see `fl.runtime.superlink_guard`.
    """

    def __init__(self, address: str, root_certificates: bytes | None = None, secret: str = "") -> None:
        from flwr.supercore.control import ControlHttpClient
        from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

        self._address, self._root_certificates = address, root_certificates
        self._client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=root_certificates is None,
            root_certificates=root_certificates,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="fedcost-supervisor"),
                _SecretShown(secret),
            ],
        )

    def start_run(self, bundle: Bundle) -> str:
        """Ask for a run of the bundle; return Flower's run id as text."""
        from flwr.common.serde import fab_to_proto
        from flwr.proto.control_pb2 import StartRunRequest
        from flwr.supercore.fab import Fab

        request = StartRunRequest(fab=fab_to_proto(Fab(bundle.sha256, bundle.content, {})))
        return str(self._client.StartRun(request).run_id)

    def stop_run(self, flwr_run_id: str) -> None:
        """Stop a run; one that has ended already stays as it is."""
        from flwr.proto.control_pb2 import StopRunRequest

        if not self.run_ended(flwr_run_id):
            self._client.StopRun(StopRunRequest(run_id=int(flwr_run_id)))

    def run_ended(self, flwr_run_id: str) -> bool:
        """Tell whether SuperLink considers the run finished, for whatever reason."""
        from flwr.common.constant import Status
        from flwr.proto.control_pb2 import ListRunsRequest

        run = self._client.ListRuns(ListRunsRequest(run_id=int(flwr_run_id))).run_dict[int(flwr_run_id)]
        return bool(run.status.status == Status.FINISHED)

    def nodes(self) -> list[RegisteredNode]:
        """Return the SuperNodes whose keys SuperLink knows."""
        from flwr.proto.control_pb2 import ListNodesRequest

        listed = self._client.ListNodes(ListNodesRequest()).nodes_info
        return [
            RegisteredNode(int(node.node_id), bytes(node.public_key), node.status == "online")
            for node in listed
            if node.status != "unregistered"
        ]

    def register(self, public_pem: bytes, name: str) -> int:
        """Tell SuperLink of a key; return the id that its holder has from now on.

        Raises
        ------
        AlreadyRegistered
            If SuperLink has known the key; it takes none a second time, not even after it was unregistered.
        """
        import httpx
        from flwr.proto.control_pb2 import RegisterNodeRequest

        try:
            return int(
                self._client.RegisterNode(RegisterNodeRequest(public_key=public_pem, name=name)).node_id
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500:
                raise AlreadyRegistered from error
            raise

    def unregister(self, node_id: int) -> None:
        """Have SuperLink refuse the holder of a key; whoever waits for its answer gets an error within 0.2 s."""
        import httpx
        from flwr.proto.control_pb2 import UnregisterNodeRequest

        try:
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))
        except httpx.HTTPStatusError:
            # Flower 1.41 unregisters one that has never connected, too, and fails only after that.
            if any(node.node_id == node_id for node in self.nodes()):
                raise

    def deactivate(self, node_id: int, key: ec.EllipticCurvePrivateKey) -> None:
        """Tell SuperLink in the name of a SuperNode that is gone that it is; who waits for it gets an error at once."""
        deactivate_node(self._address, self._root_certificates, node_id, key)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class _SecretShown:
    """Shows the supervisor's secret with each call."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def intercept(self, context: Any, call_next: Callable[[Any], Any]) -> Any:
        context.request.headers[CONTROL_HEADER] = self._secret
        return call_next(context)


def deactivate_node(
    address: str, root_certificates: bytes | None, node_id: int, key: ec.EllipticCurvePrivateKey
) -> None:
    """Tell SuperLink, signed as the SuperNode itself would, that a SuperNode is not connected any more."""
    from flwr.proto.fleet_pb2 import DeactivateNodeRequest
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
    from flwr.supernode.fleet_http_client import FleetHttpClient
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

    with FleetHttpClient.from_server_address(
        address,
        root_certificates is None,
        root_certificates,
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperNode"),
            NodeAuthHttpInterceptor(key, key.public_key()),
        ],
    ) as client:
        client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))
