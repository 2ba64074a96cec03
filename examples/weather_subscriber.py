"""Collects the weather of one city: a Sub, which receives what it subscribed to.

    python examples/weather_subscriber.py [ENDPOINT [CITY [COUNT]]]

Prints COUNT updates for CITY, and their mean. It needs weather_publisher.py, which may be started later.
"""

from __future__ import annotations

import sys
from functools import partial

import trio

import trimq


async def main(endpoint: str = "tcp://127.0.0.1:5556", city: str = "Bergen", count: str = "10") -> None:
    temperatures: list[int] = []
    async with trimq.open_context() as ctx:
        sub = ctx.socket(trimq.Sub)
        sub.subscribe(city.encode())
        sub.connect(endpoint)
        while len(temperatures) < int(count):
            topic, temperature = await sub.receive()
            temperatures.append(int(temperature))
            print(f"{topic.decode()}: {temperatures[-1]} degrees", flush=True)
    print(f"mean of {len(temperatures)} updates: {sum(temperatures) / len(temperatures):.1f} degrees")


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
