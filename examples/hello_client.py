"""Asks for a hello: a Req, which sends a request and receives its reply.

    python examples/hello_client.py [ENDPOINT [COUNT]]

Asks COUNT times, 3 if not told. It may be started before or after hello_server.py: it connects when it can.
"""

from __future__ import annotations

import sys
from functools import partial

import trio

import trimq


async def main(endpoint: str = "tcp://127.0.0.1:5555", count: str = "3") -> None:
    async with trimq.open_context() as ctx:
        req = ctx.socket(trimq.Req)
        req.connect(endpoint)
        for number in range(1, int(count) + 1):
            await req.send(f"client {number}".encode())
            [reply] = await req.receive()
            print(reply.decode())


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
