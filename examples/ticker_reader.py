"""Reads a share's prices from a ticker, by reliable multicast, and says so if any were lost.

    python examples/ticker_reader.py [ENDPOINT [SHARE [COUNT]]]

Prints COUNT prices, or goes on until Ctrl-C. Any number may listen; whoever comes late has missed what was sent before.
Meanwhile, in another terminal: python examples/ticker.py
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import trio

import trimq


async def main(endpoint: str = "epgm://127.0.0.1;239.192.55.55:5555", share: str = "ACME", count: str = "inf") -> None:
    async with trimq.open_context(rate=10_000, recovery_interval=2.0) as ctx:
        sub = ctx.socket(trimq.Sub)
        sub.subscribe(share.encode())
        print(f"listening at {sub.connect(endpoint)}", flush=True)
        read = 0
        while read < float(count):
            name, number, price = await sub.receive()
            print(f"{name.decode()} {int(number)}: {int(price)}", flush=True)
            read += 1
        if lost := sub.statistics().lost:
            print(f"{lost} packets are lost", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(partial(main, *sys.argv[1:]))
