"""Listens to a group of an announcer's: a Dish that has joined a multicast group, and of that one group of messages.

    python examples/listener.py [ENDPOINT [GROUP [COUNT]]]

Prints COUNT messages, or goes on until Ctrl-C. Any number may listen; whoever comes late has missed what was sent before.
Meanwhile, in another terminal: python examples/announcer.py
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial

import trio

import trimq


async def main(endpoint: str = "udp://127.0.0.1;239.255.55.55:5555", group: str = "time", count: str = "inf") -> None:
    async with trimq.open_context() as ctx:
        dish = ctx.socket(trimq.Dish)
        dish.join(group)
        print(f"listening at {dish.bind(endpoint)}", flush=True)
        heard = 0
        while heard < float(count):
            message = await dish.receive()
            print(f"{message.group.decode()}: {message.body.decode()}", flush=True)
            heard += 1


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(partial(main, *sys.argv[1:]))
