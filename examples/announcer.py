"""Tells the time to whoever listens: a Radio that sends to a multicast group, whether or not anybody is there.

    python examples/announcer.py [ENDPOINT [COUNT]]

Sends COUNT times, ten a second, or goes on until Ctrl-C. In other terminals, as often as you like:
python examples/listener.py. By default nothing leaves this machine; for a network, name its interface and another group,
as udp://eth0;239.255.55.55:5555.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import trio

import trimq


async def main(endpoint: str = "udp://127.0.0.1;239.255.55.55:5555", count: str = "inf") -> None:
    async with trimq.open_context() as ctx:
        radio = ctx.socket(trimq.Radio)
        radio.connect(endpoint)
        sent = 0
        while sent < float(count):
            now = datetime.now(UTC)
            await radio.send(trimq.GroupMessage("time", now.isoformat().encode()))
            await radio.send(trimq.GroupMessage("seconds", b"%d" % now.second))
            sent += 1
            await trio.sleep(0.1)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(partial(main, *sys.argv[1:]))
