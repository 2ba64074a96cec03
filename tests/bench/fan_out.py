"""PUB to 1, 10 and 100 SUB over tcp on loopback, 64-byte messages: deliveries a second, none of them lost.

The publisher is one process, all its subscribers are another. What is counted is deliveries: messages times
subscribers, about a million at each width, from the first to the last at the subscribers.

Fair: each side has the same high-water marks, and waits for room instead of dropping (trimq ``nodrop``, libzmq
ZMQ_XPUB_NODROP, which there is for XPUB); each publisher starts once all have subscribed. pyzmq's subscribers are one
blocking poller with a loop that drains each ready socket. trimq's are a task for each socket that awaits one message at
a time; and beside that, on their own, pyzmq's loop with trimq's names (``wait_any``, then ``receive_nowait`` until there
is nothing), and trimq's batches, ``send_many`` and ``receive_many``.

Checked, after the clock has stopped: each subscriber got every message, in order, byte for byte.
"""

from __future__ import annotations

from typing import Any

from harness import Clock, Contender, Scenario, announce, main, report, wrong

SIZE = 64
DELIVERIES = 1_000_000
WIDTHS = (1, 10, 100)


def payloads(options: dict[str, Any]) -> list[bytes]:
    """What is published: distinct messages of one size, so many that all subscribers together get the count."""
    return [b"%0*d" % (SIZE, number) for number in range(options["count"] // options["width"])]


def check(received: list[list[bytes]], options: dict[str, Any]) -> None:
    """Order and content, at each subscriber."""
    expected = payloads(options)
    for number, mine in enumerate(received):
        if mine != expected:
            wrong(
                f"subscriber {number} of {len(received)} got {len(mine)} of {len(expected)}, or not as they were sent"
            )


def trimq_publish(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    async def run() -> None:
        messages = payloads(options)
        async with trimq.open_context() as context:
            pub = context.socket(trimq.Pub, send_hwm=options["hwm"], nodrop=True)
            announce(pub.bind(endpoint))
            await pub.wait_for_subscribers(options["width"])
            clock = Clock()
            if options["batch"]:
                await pub.send_many(messages)
            else:
                for message in messages:
                    await pub.send(message)
            await pub.flush()
            report(cpu=clock.stop()["cpu"])

    trio.run(run)


def trimq_subscribe(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    received: list[list[bytes]] = [[] for _ in range(options["width"])]
    clocks: list[Clock] = []

    async def one_by_one(sub: trimq.Sub, mine: list[bytes], count: int) -> None:
        mine += await sub.receive()
        if not clocks:
            clocks.append(Clock())
        for _ in range(count - 1):
            mine.append((await sub.receive())[0])

    async def in_batches(sub: trimq.Sub, mine: list[bytes], count: int) -> None:
        mine += await sub.receive()
        if not clocks:
            clocks.append(Clock())
        while len(mine) < count:
            mine += [message[0] for message in await sub.receive_many()]

    async def drained(subs: dict[trimq.Sub, list[bytes]], left: int) -> None:
        while left > 0:
            ready = await trimq.wait_any(*subs)
            if not clocks:
                clocks.append(Clock())
            for sub in ready:
                mine = subs[sub]
                left += len(mine)
                try:
                    while True:
                        mine.append(sub.receive_nowait()[0])
                except trio.WouldBlock:
                    pass
                left -= len(mine)

    async def run() -> None:
        async with trimq.open_context() as context:
            async with trio.open_nursery() as nursery:
                subs: dict[trimq.Sub, list[bytes]] = {}
                share = options["count"] // options["width"]
                for mine in received:
                    sub = context.socket(trimq.Sub, receive_hwm=options["hwm"])
                    sub.subscribe(b"")
                    sub.connect(endpoint)
                    subs[sub] = mine
                    if not options["drain"]:
                        nursery.start_soon(in_batches if options["batch"] else one_by_one, sub, mine, share)
                if options["drain"]:
                    nursery.start_soon(drained, subs, share * len(subs))
            report(**clocks[0].stop())
        check(received, options)

    trio.run(run)


def pyzmq_publish(endpoint: str, options: dict[str, Any]) -> None:
    import zmq

    messages = payloads(options)
    with zmq.Context() as context, context.socket(zmq.XPUB) as pub:
        pub.sndhwm = options["hwm"]
        pub.xpub_nodrop = True
        pub.xpub_verbose = True  # it tells of each subscriber, not of each topic
        pub.bind(endpoint)
        announce(pub.last_endpoint.decode())
        for _ in range(options["width"]):
            if pub.recv() != b"\1":
                wrong("the publisher got something else than a subscription")
        clock = Clock()
        for message in messages:
            pub.send(message)
        pub.close()
        context.term()  # once all is written, as flush in trimq
        report(cpu=clock.stop()["cpu"])


def pyzmq_subscribe(endpoint: str, options: dict[str, Any]) -> None:
    import zmq

    received: dict[zmq.Socket[bytes], list[bytes]] = {}
    with zmq.Context() as context:
        poller = zmq.Poller()
        for _ in range(options["width"]):
            sub = context.socket(zmq.SUB)
            sub.rcvhwm = options["hwm"]
            sub.subscribe(b"")
            sub.connect(endpoint)
            poller.register(sub, zmq.POLLIN)
            received[sub] = []
        left = options["count"] // options["width"] * options["width"]
        ready = poller.poll()
        clock = Clock()
        while True:
            for sub, _ in ready:
                mine = received[sub]
                left += len(mine)
                try:
                    while True:
                        mine.append(sub.recv(zmq.NOBLOCK))
                except zmq.Again:
                    pass
                left -= len(mine)
            if left <= 0:
                break
            ready = poller.poll()
        report(**clock.stop())
        for sub in received:
            sub.close()
    check(list(received.values()), options)


SCENARIOS = [
    Scenario(
        name=f"fan-out-{width}",
        title=f"PUB -> {width} SUB, tcp, {SIZE} B, two processes, nothing dropped: deliveries at the subscribers",
        contenders=[
            Contender("trimq", [trimq_publish, trimq_subscribe]),
            Contender("trimq, one task that drains", [trimq_publish, trimq_subscribe], {"drain": True}),
            Contender("trimq, in batches", [trimq_publish, trimq_subscribe], {"batch": True}),
            Contender("pyzmq", [pyzmq_publish, pyzmq_subscribe]),
        ],
        count=DELIVERIES,
        options={"width": width, "batch": False, "drain": False},
        targets={
            "pyzmq": 1.0,
            ("trimq, one task that drains", "pyzmq"): 1.0,
            ("trimq, in batches", "pyzmq"): 1.0,
        },
    )
    for width in WIDTHS
]

if __name__ == "__main__":
    main(__file__, SCENARIOS)
