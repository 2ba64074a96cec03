"""Publishes the weather: a Pub, whose messages go to all who subscribed to what they begin with.

    python examples/weather_publisher.py [ENDPOINT [COUNT]]

Waits for a first subscriber, then publishes COUNT rounds of updates, ten a second, or goes on until Ctrl-C.
Meanwhile, in other terminals: python examples/weather_subscriber.py
"""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from functools import partial

import trio

import trimq

CITIES = (b"Bergen", b"Lima", b"Nairobi", b"Osaka", b"Perth")


async def main(endpoint: str = "tcp://127.0.0.1:5556", count: str = "inf") -> None:
    async with trimq.open_context() as ctx:
        pub = ctx.socket(trimq.Pub)
        print(f"publishing at {pub.bind(endpoint)}", flush=True)
        await pub.wait_for_subscribers()
        rounds = 0
        while rounds < float(count):
            for city in CITIES:
                await pub.send([city, b"%d" % random.randint(-20, 40)])  # the topic, the temperature
            rounds += 1
            await trio.sleep(0.1)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(partial(main, *sys.argv[1:]))
