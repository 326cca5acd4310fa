"""Signed-in browser sessions of `make bench-load`: Streamlit's own WebSocket messages, without a browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

FINISHED = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_EARLY_FOR_RERUN)
LONGEST = 60.0  # seconds that somebody waits for a page


class Session:
    """One person's open page, redrawn again and again, each time after some seconds of reading."""

    def __init__(self, plan: dict[str, Any], number: int, seen: dict[str, Any]) -> None:
        self.plan, self.number, self.seen = plan, number, seen
        self.chance = random.Random(number)

    async def live(self, until: float) -> None:
        """Connect and redraw until the time is over; what goes wrong is counted."""
        headers = {"Cookie": f"{self.plan['cookie']}={self.plan['secrets'][self.number]}"}
        address = self.plan["addresses"][self.number % len(self.plan["addresses"])]
        await asyncio.sleep(self.chance.uniform(0, self.plan["think"]))
        try:
            async with connect(
                address.replace("http", "ws", 1) + "/_stcore/stream",
                origin=address,
                additional_headers=headers,
                subprotocols=["streamlit"],
                max_size=None,
                open_timeout=LONGEST,
            ) as socket:
                self.seen["opened"] += 1
                while time.time() < until:
                    await self._redraw(socket)
                    await asyncio.sleep(self.chance.uniform(0.5, 1.5) * self.plan["think"])
        except (OSError, TimeoutError, WebSocketException) as error:
            self.seen["errors"][type(error).__name__] += 1

    async def _redraw(self, socket: ClientConnection) -> None:
        message = BackMsg()
        message.rerun_script.query_string = ""
        message.rerun_script.page_name = self.chance.choice(self.plan["pages"])
        began = time.perf_counter()
        await socket.send(message.SerializeToString())
        said = ""
        async with asyncio.timeout(LONGEST):
            while True:
                forward = ForwardMsg()
                forward.ParseFromString(await socket.recv())  # type: ignore[arg-type]
                kind = forward.WhichOneof("type")
                if kind == "delta" and forward.delta.new_element.WhichOneof("type") in ("alert", "exception"):
                    said = forward.delta.new_element.alert.body or "an exception"
                if kind == "script_finished" and forward.script_finished in FINISHED:
                    break
        self.seen["took"].append((time.perf_counter() - began) * 1000)
        if said:
            self.seen["said"][said[:120]] += 1


async def main(plan: dict[str, Any]) -> None:
    """Hold all sessions until the plan's time is over, then write down what was seen."""
    seen: dict[str, Any] = {"opened": 0, "took": [], "errors": Counter(), "said": Counter()}
    until = time.time() + plan["seconds"]
    sessions = [Session(plan, number, seen).live(until) for number in range(len(plan["secrets"]))]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*sessions), plan["seconds"] + 2 * LONGEST)
    Path(plan["result"]).write_text(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
