"""Subscriptions under any history: a publisher's table and a subscriber's list agree with the definition.

The input is read as steps: what(1) length(1) topic. The topic's bytes are few, so that prefixes meet; the length's upper
bits repeat it.
"""

from __future__ import annotations

from collections.abc import Iterator

from trimq._pipe import Pipe
from trimq._remote import FilteredPipe, Remote
from trimq._subscriptions import TopicCounter, TopicTable

PEERS = 3
MOST_STEPS = 300


def steps(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """What to do, who does it, and with which topic."""
    at = 0
    for _ in range(MOST_STEPS):
        if at + 2 > len(data):
            return
        what, size = data[at], data[at + 1]
        topic = data[at + 2 : at + 2 + size % 16] * (1 + size // 16)
        at += 2 + size % 16
        yield what % 4, what // 4 % PEERS, topic


def target(data: bytes) -> None:
    """Any history of subscribing, unsubscribing and publishing."""
    table, counter = TopicTable(), TopicCounter()
    peers = [Remote(Pipe(10), Pipe(10), dialled=False) for _ in range(PEERS)]
    have: list[set[bytes]] = [set() for _ in range(PEERS)]
    counts: dict[bytes, int] = {}
    filtered = FilteredPipe(1000, counter.wants, counter.select)
    queued: list[bytes] = []
    for what, who, topic in steps(data[:4096]):
        if what == 0:
            assert table.add(topic, peers[who]) is not any(topic in topics for topics in have)
            have[who].add(topic)
            assert counter.add(topic) is (topic not in counts)
            counts[topic] = counts.get(topic, 0) + 1
        elif what == 1:
            have[who].discard(topic)
            assert table.remove(topic, peers[who]) is not any(topic in topics for topics in have)
            assert counter.remove(topic) is (counts.get(topic) == 1)
            counts[topic] = counts.get(topic, 0) - 1
            if counts[topic] <= 0:
                del counts[topic]
            filtered.refilter()
            queued = [item for item in queued if _wanted(item, counts)]
        else:
            matching = {peer for peer, topics in zip(peers, have, strict=True) if _wanted(topic, topics)}
            assert set(table.match(topic)) == matching
            wanted = _wanted(topic, counts)
            assert counter.wants(topic) is counter.wants([topic, b""]) is wanted
            assert list(counter.select([topic, topic + b"x"])) == [
                item for item in (topic, topic + b"x") if _wanted(item, counts)
            ]
            filtered.put(topic)
            queued += [topic] * wanted
        assert [peer.topics for peer in peers] == have
        assert set(counter) == set(counts)
        assert list(filtered.queue) == queued


def _wanted(text: bytes, topics: set[bytes] | dict[bytes, int]) -> bool:
    return any(text.startswith(topic) for topic in topics)


def seeds() -> Iterator[bytes]:
    """Nested topics, siblings, the empty one; more than are looked at one by one; gone and back again."""
    add = [bytes([0, n]) + b"x" * n for n in range(16)]
    gone = [bytes([1, n]) + b"x" * n for n in range(16)]
    siblings = [bytes([0 if n % 2 else 4, n + 1]) + b"x" * n + b"a" for n in range(15)]
    ask = [bytes([2, n + 1]) + b"x" * n + b"c" for n in range(15)]
    many = [bytes([0, 2, a, b]) for a in b"abcd" for b in b"abcdefg"]
    fewer = [bytes([1, 2, a, b]) for a in b"abc" for b in b"abcdefg"]
    yield b""
    for parts in (
        [add, ask],
        [add, siblings, ask],
        [siblings, ask, add, ask, gone, ask],
        [many, ask, fewer, many, ask],
    ):
        yield b"".join(map(b"".join, parts))
    yield b"".join([*many, b"\2\2ab", *fewer, b"\2\2ab", b"\2\2da", b"\0\0", b"\2\2zz", b"\1\0", b"\2\2zz"])
    yield (
        bytes([0, 0xF4])
        + b"abcd"
        + bytes([0, 0xE4])
        + b"abcd"
        + bytes([2, 0xF4])
        + b"abcd"
        + bytes([2, 0xD5])
        + b"abcda"
    )
