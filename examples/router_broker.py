"""Stands between clients and servers: a Router for the clients, a Dealer for the servers.

    python examples/router_broker.py [FRONTEND [COUNT [SERVER ...]]]

Passes on COUNT replies, or goes on until Ctrl-C. Clients connect to FRONTEND; the servers, which take turns, are
hello_server.py's. In three terminals:

    python examples/hello_server.py
    python examples/router_broker.py
    python examples/hello_client.py tcp://127.0.0.1:5559
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import trio

import trimq


async def main(frontend: str = "tcp://127.0.0.1:5559", count: str = "inf", *servers: str) -> None:
    async with trimq.open_context() as ctx:
        router = ctx.socket(trimq.Router)
        print(f"clients come to {router.bind(frontend)}", flush=True)
        dealer = ctx.socket(trimq.Dealer)
        for server in servers or ["tcp://127.0.0.1:5555"]:
            dealer.connect(server)
        passed = 0
        while passed < float(count):
            for socket in await trimq.wait_any(router, dealer):
                if socket is router:
                    await dealer.send(await router.receive())  # who asked, an empty frame, the request
                else:
                    await router.send(await dealer.receive())
                    passed += 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(partial(main, *sys.argv[1:]))
