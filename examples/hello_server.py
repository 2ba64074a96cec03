"""Says hello: a Rep, which answers each request in turn.

    python examples/hello_server.py [ENDPOINT [COUNT]]

Answers COUNT requests, or goes on until Ctrl-C. Meanwhile, in another terminal: python examples/hello_client.py
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import trio

import trimq


async def main(endpoint: str = "tcp://127.0.0.1:5555", count: str = "inf") -> None:
    async with trimq.open_context() as ctx:
        rep = ctx.socket(trimq.Rep)
        print(f"listening at {rep.bind(endpoint)}", flush=True)
        answered = 0
        while answered < float(count):
            [name] = await rep.receive()
            await rep.send(b"hello, " + name)
            answered += 1
            print(f"answered {name.decode()}", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(partial(main, *sys.argv[1:]))
