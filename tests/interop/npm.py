"""The tests' side of a libzmq peer in node: the npm package zeromq, for the draft types that pyzmq's wheels lack."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from npm_package import npm_folder

SCRIPT = Path(__file__).with_name("npm_peer.mjs")


class NpmPeer:
    """A process with libzmq in it, and its sockets by number."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._rest = b""

    async def call(self, op: str, **arguments: Any) -> Any:
        """Has a command carried out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdin.send_all(json.dumps({"op": op, **arguments}).encode() + b"\n")
        while b"\n" not in self._rest:
            data = await self._process.stdout.receive_some()
            assert data, f"the peer ended during {op}"
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        answer = json.loads(line)
        assert "error" not in answer, f"{op} {arguments}: {answer.get('error')}"
        return answer["value"]

    async def socket(self, kind: str, **options: Any) -> NpmSocket:
        """A socket, by the name of its class in the package."""
        return NpmSocket(self, await self.call("socket", type=kind, options=options))


class NpmSocket:
    """A socket in the other process."""

    def __init__(self, peer: NpmPeer, number: int) -> None:
        self._call = functools.partial(peer.call, socket=number)

    async def bind(self, endpoint: str) -> str:
        """Binds; gives the resolved endpoint as libzmq tells it."""
        return str(await self._call("bind", endpoint=endpoint))

    async def connect(self, endpoint: object) -> None:
        """Connects."""
        await self._call("connect", endpoint=str(endpoint))

    async def close(self) -> None:
        """Closes it."""
        await self._call("close")

    async def join(self, group: bytes) -> None:
        """Has a Dish join."""
        await self._call("join", group=group.hex())

    async def leave(self, group: bytes) -> None:
        """Has a Dish leave."""
        await self._call("leave", group=group.hex())

    async def send(self, *frames: bytes, **options: Any) -> None:
        """Sends; with ``group=`` as bytes for a Radio, ``routingId=`` for a Server."""
        if "group" in options:
            options["group"] = options["group"].hex()
        await self._call("send", frames=[frame.hex() for frame in frames], options=options or None)

    async def poke(self) -> None:
        """Lets it see who has connected; nothing may be there to receive."""
        await self._call("poke")

    async def receive(self) -> list[Any]:
        """Frames as bytes, and what the package tells beside them as a dict."""
        parts = await self._call("receive")
        return [
            bytes.fromhex(part)
            if isinstance(part, str)
            else {"group": bytes.fromhex(part["group"])}
            if isinstance(part, dict) and "group" in part
            else part
            for part in parts
        ]


@asynccontextmanager
async def npm_peer(seconds: float = 30) -> AsyncIterator[NpmPeer]:
    """A peer in node, and a deadline for all that is done with it. Skips the test where the package cannot be had."""
    try:
        folder = npm_folder()
    except LookupError as error:
        pytest.skip(f"platform: {error}")
    environment = {**os.environ, "NPM_ZEROMQ": str(folder), "NODE_NO_WARNINGS": "1"}
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            start = functools.partial(
                trio.run_process,
                ["node", str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                check=False,
            )
            process: trio.Process = await nursery.start(start)
            assert process.stdin is not None
            assert process.stdout is not None
            async with process.stdin, process.stdout:
                yield NpmPeer(process)
            nursery.cancel_scope.cancel()
