"""What a publisher's send costs with 1, 1,000 and 100,000 topics subscribed to, and what subscribing costs.

One process and one thread, over inproc: the publisher sends as many messages as the queues hold, on the clock; then the
subscribers take them, off the clock, and so on.

Topics have 1 to 64 bytes and overlap: most come in chains of eight, each of which begins with the one before. A chain
belongs to one subscriber, so that a message goes to one of them or to none however many topics there are: what grows
is the search alone. Either 1 subscriber has all chains, or 100 share them. Half of the messages are hits. The others
are misses, half of them near: they part from a chain just before its first topic ends. All are distinct.

The cost of subscribing is taken over inproc and over tcp, both ends in the same process and thread: from the first
`subscribe` until the XPUB's user has read of the last of them, and the same for `unsubscribe`.

Beside it pyzmq's XPUB and SUB in the same way. Neither publisher may drop (``nodrop``): libzmq learns only now and then
that there is room again. High-water marks are the same, and none for subscriptions: libzmq would lose what is beyond.

Checked: each subscriber got the hits of its chains and nothing else, in order, byte for byte; the publisher's user read
of each topic once, and once more when it was unsubscribed from; after that, a message reaches nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from harness import Clock, Contender, Scenario, main, report, wrong

TOPICS = (1, 1_000, 100_000)
SUBSCRIBERS = (1, 100)
CHAIN = 8
LONGEST = 64


def base(chain: int) -> bytes:
    """The 64 bytes with which each topic of a chain begins; the first three are its own."""
    name = bytes((65 + chain // 832, 97 + chain // 32 % 26, 65 + chain % 32))
    return (name * 22)[:LONGEST]


def lengths(chain: int) -> list[int]:
    """Of a chain's topics: eight of 3 to 64, others in the next chain."""
    return sorted(3 + (chain + 8 * step) % 62 for step in range(CHAIN))


def topics(count: int) -> list[tuple[int, bytes]]:
    """So many topics, all different, each with its chain."""
    if count == 1:
        return [(0, base(0)[: lengths(0)[CHAIN // 2]])]
    short = [b"~", b"~~"]  # as the rest begins with letters, no message begins so
    found = [(0, topic) for topic in short]
    for chain in range(-(-(count - len(short)) // CHAIN)):
        found += [(chain, base(chain)[:length]) for length in lengths(chain)]
    return found[:count]


def messages(options: dict[str, Any]) -> Iterator[tuple[int | None, bytes]]:
    """What is sent, with the chain of a hit, None for a miss."""
    chains = [chain for chain, _ in topics(options["topics"])]
    for number in range(options["count"]):
        chain = chains[number * 7919 % len(chains)]
        tail = b" %09d" % number
        if number % 2:
            yield chain, base(chain) + tail
        elif number % 4:
            yield None, b"." * LONGEST + tail
        else:
            # A chain that is not there if its first topic is longer than in a table of one topic.
            first = len(topics(1)[0][1]) if options["topics"] == 1 else lengths(chain)[0]
            yield None, (base(chain)[: first - 1] + b"." * LONGEST)[:LONGEST] + tail


def batches(sent: list[bytes], size: int) -> Iterator[list[bytes]]:
    """In order, so many at a time."""
    for start in range(0, len(sent), size):
        yield sent[start : start + size]


def check(received: list[list[bytes]], options: dict[str, Any]) -> None:
    """Each subscriber has the hits of its own chains, in order."""
    expected: list[list[bytes]] = [[] for _ in received]
    for chain, message in messages(options):
        if chain is not None:
            expected[chain % len(received)].append(message)
    if received != expected:
        wrong("a subscriber has not got the messages of its topics, in order, or something else beside them")


# sending


def trimq_send(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    sent = [message for _, message in messages(options)]
    received: list[list[bytes]] = [[] for _ in range(options["subscribers"])]

    async def run() -> None:
        spent = cpu = 0.0
        async with trimq.open_context(send_hwm=options["hwm"], receive_hwm=options["hwm"]) as context:
            pub = context.socket(trimq.Pub, nodrop=True)
            pub.bind(endpoint)
            subs = [context.socket(trimq.Sub) for _ in received]
            for sub in subs:
                sub.connect(endpoint)
            for chain, topic in topics(options["topics"]):
                subs[chain % len(subs)].subscribe(topic)
            for batch in batches(sent, options["hwm"]):
                clock = Clock()
                for message in batch:
                    await pub.send(message)
                stopped = clock.stop()
                spent += stopped["wall"]
                cpu += stopped["cpu"]
                for sub, mine in zip(subs, received, strict=True):
                    try:
                        while True:
                            mine.append(sub.receive_nowait()[0])
                    except trio.WouldBlock:
                        pass
        report(us=1e6 * spent / len(sent), cpu=cpu)

    trio.run(run)
    check(received, options)


def pyzmq_send(endpoint: str, options: dict[str, Any]) -> None:
    import zmq

    sent = [message for _, message in messages(options)]
    received: list[list[bytes]] = [[] for _ in range(options["subscribers"])]
    spent = cpu = 0.0
    with zmq.Context() as context, context.socket(zmq.XPUB) as pub:
        pub.sndhwm = options["hwm"]
        pub.rcvhwm = 0
        pub.xpub_nodrop = True
        pub.bind(endpoint)
        subs = [context.socket(zmq.SUB) for _ in received]
        for sub in subs:
            sub.rcvhwm = options["hwm"]
            sub.sndhwm = 0
            sub.connect(endpoint)
        wanted = topics(options["topics"])
        for chain, topic in wanted:
            subs[chain % len(subs)].subscribe(topic)
        for _ in wanted:
            pub.recv()
        for batch in batches(sent, options["hwm"]):
            clock = Clock()
            for message in batch:
                pub.send(message)
            stopped = clock.stop()
            spent += stopped["wall"]
            cpu += stopped["cpu"]
            for sub, mine in zip(subs, received, strict=True):
                try:
                    while True:
                        mine.append(sub.recv(zmq.NOBLOCK))
                except zmq.Again:
                    pass
        report(us=1e6 * spent / len(sent), cpu=cpu)
        for sub in subs:
            sub.close()
    check(received, options)


# subscribing


def trimq_subscribe(endpoint: str, options: dict[str, Any]) -> None:
    import trio

    import trimq

    wanted = [topic for _, topic in topics(options["count"])]

    async def news(pub: trimq.XPub) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < len(wanted):
            found += [message[0] for message in await pub.receive_many()]
        return found

    async def run() -> None:
        async with trimq.open_context(receive_hwm=math.inf) as context:
            pub, sub = context.socket(trimq.XPub), context.socket(trimq.Sub)
            sub.connect(pub.bind(endpoint))
            await sub.wait_for_peers()
            clock = Clock()
            for topic in wanted:
                sub.subscribe(topic)
            told = await news(pub)
            subscribed = clock.stop()
            if told != [b"\1" + topic for topic in wanted]:
                wrong("the publisher was not told of each subscription, in order")
            clock = Clock()
            for topic in wanted:
                sub.unsubscribe(topic)
            told = await news(pub)
            unsubscribed = clock.stop()
            if told != [b"\0" + topic for topic in wanted]:
                wrong("the publisher was not told of each cancellation, in order")
            sub.subscribe(b"end")
            await pub.receive()
            await pub.send(wanted[-1] + b"...")
            await pub.send(b"end")
            if await sub.receive() != [b"end"]:
                wrong("something came that nobody subscribes to any more")
            report(
                subscribe_s=subscribed["wall"],
                unsubscribe_s=unsubscribed["wall"],
                cpu=subscribed["cpu"] + unsubscribed["cpu"],
            )

    trio.run(run)


def pyzmq_subscribe(endpoint: str, options: dict[str, Any]) -> None:
    import zmq

    wanted = [topic for _, topic in topics(options["count"])]
    with zmq.Context() as context, context.socket(zmq.XPUB) as pub, context.socket(zmq.SUB) as sub:
        for sock in (pub, sub):
            sock.sndhwm = sock.rcvhwm = 0
        pub.bind(endpoint)
        sub.connect(pub.last_endpoint.decode())
        sub.subscribe(b"begin")
        pub.recv()  # they have found each other
        clock = Clock()
        for topic in wanted:
            sub.subscribe(topic)
        told = [pub.recv() for _ in wanted]
        subscribed = clock.stop()
        if told != [b"\1" + topic for topic in wanted]:
            wrong("the publisher was not told of each subscription, in order")
        clock = Clock()
        for topic in wanted:
            sub.unsubscribe(topic)
        told = [pub.recv() for _ in wanted]
        unsubscribed = clock.stop()
        if told != [b"\0" + topic for topic in wanted]:
            wrong("the publisher was not told of each cancellation, in order")
        sub.subscribe(b"end")
        pub.recv()
        pub.send(wanted[-1] + b"...")
        pub.send(b"end")
        if sub.recv() != b"end":
            wrong("something came that nobody subscribes to any more")
        report(
            subscribe_s=subscribed["wall"],
            unsubscribe_s=unsubscribed["wall"],
            cpu=subscribed["cpu"] + unsubscribed["cpu"],
        )


def name(library: str, count: int) -> str:
    """Of a contender."""
    return f"{library}, {count:,} topic{'s' * (count > 1)}"


SCENARIOS = [
    *(
        Scenario(
            name=f"matching-{subscribers}",
            title=f"one send of a PUB, inproc, {subscribers} SUB: microseconds by the number of topics",
            contenders=[
                Contender(name(library, count), [end], {"topics": count})
                for library, end in (("trimq", trimq_send), ("pyzmq", pyzmq_send))
                for count in TOPICS
            ],
            count=600_000,
            options={"bind": "inproc://matching", "subscribers": subscribers},
            metric="us",
            unit="us",
            targets={(name("trimq", count), name("trimq", TOPICS[0])): 1.5 for count in TOPICS[1:]},
        )
        for subscribers in SUBSCRIBERS
    ),
    *(
        Scenario(
            name=f"subscribing-{bind[:3]}",
            title=f"subscribing to {TOPICS[-1]:,} topics, {bind[:6].strip(':')}: seconds",
            contenders=[Contender("trimq", [trimq_subscribe]), Contender("pyzmq", [pyzmq_subscribe])],
            count=TOPICS[-1],
            options={"bind": bind},
            metric="subscribe_s",
            unit="s",
            limits={"subscribe_s": 1, "unsubscribe_s": 1},
        )
        for bind in ("inproc://subscribing", "tcp://127.0.0.1:*")
    ),
]

if __name__ == "__main__":
    main(__file__, SCENARIOS)
