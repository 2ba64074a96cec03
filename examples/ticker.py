"""Publishes prices to whoever listens, by reliable multicast: sent once for all, and what the network loses is repaired.

    python examples/ticker.py [ENDPOINT [COUNT]]

Sends COUNT prices of each share, or goes on until Ctrl-C. In other terminals, as often as you like, and before this one:
python examples/ticker_reader.py. By default nothing leaves this machine; for a network, name its interface, as
epgm://eth0;239.192.55.55:5555.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import trio

import trimq


async def main(endpoint: str = "epgm://127.0.0.1;239.192.55.55:5555", count: str = "inf") -> None:
    # 10 Mbit/s, and what was sent in the last two seconds can be sent again. When it ends, it stays that long for repairs.
    async with trimq.open_context(rate=10_000, recovery_interval=2.0, linger=2.0) as ctx:
        pub = ctx.socket(trimq.Pub, nodrop=True)
        pub.connect(endpoint)
        sent = 0
        while sent < float(count):
            sent += 1
            for share, price in ("ACME", 100 + sent % 7), ("EMCA", 50 + sent % 5):
                await pub.send([share.encode(), b"%d" % sent, b"%d" % price])
            await trio.sleep(0.01)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(partial(main, *sys.argv[1:]))
