"""No input costs more than in proportion to its length: eight times as much of it, well below 64 times the work.

Promise 4: a peer cannot hold the program up. Measured with the thread's own clock, three times if need be, with
a bound far from what is linear (8) and from what is quadratic (64); what takes less than a few milliseconds passes.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from functools import partial
from time import thread_time

import pytest
from fuzz.targets.traffic import decode_all
from wire import helpers

from trimq._address import parse_tcp
from trimq._errors import InvalidEndpoint, ProtocolError
from trimq._message import Item
from trimq._pipe import Pipe
from trimq._remote import Remote
from trimq._subscriptions import TopicCounter, TopicTable
from trimq._wire._commands import metadata_untrusted

N = 2000


def traffic(unit: bytes, step: int, limit: int, count: int, start: bytes = helpers.G + helpers.R) -> None:
    """So many of it after a handshake, in reads of so many bytes."""
    wire = helpers.connection("XPUB", ["DEALER"], publishes=True)
    wire.begin()
    wire.handshake_untrusted(start)
    data = unit * count
    items: list[Item] = []
    for at in range(0, len(data), step):
        wire.feed(data[at : at + step])
        decode_all(wire, limit, items)


def trickle(count: int) -> None:
    """A frame, and a READY, byte by byte."""
    traffic(b"\x02" + count.to_bytes(8, "big") + b"x" * count, 1, 10, 1)
    wire = helpers.connection()
    wire.begin()
    for byte in helpers.G + helpers.ready(helpers.DEALER, helpers.prop(b"X-a", b"x" * count)):
        wire.handshake_untrusted(bytes([byte]))
    assert wire.peer is not None


def properties(count: int) -> None:
    """Many properties, many of one name, and one long one."""
    for data in (
        b"".join(helpers.prop(b"X-%d" % n, b"") for n in range(count)),
        helpers.prop(b"a", b"") * count,
        helpers.prop(b"X-a", b"x" * count),
    ):
        try:
            metadata_untrusted(data)
        except ProtocolError:
            assert len(data) > 65536


def matching(topics: Callable[[int], list[bytes]], text: Callable[[int], bytes], count: int) -> None:
    """A peer subscribes, with a message published after every tenth topic."""
    table, counter = TopicTable(), TopicCounter()
    remote = Remote(Pipe(1), Pipe(1), dialled=False)
    for number, topic in enumerate(topics(count)):
        table.add(topic, remote)
        counter.add(topic)
        if number % 10 < 2:
            table.match(text(count))
            counter.wants(text(count))


def endpoint(text: str, count: int) -> None:
    """A long address."""
    for address in (text * count + ":1", "[" + text * count + "]:1", "1.2.3.4:" + text * count, text * count + ";a:1"):
        for bind in (False, True):
            try:
                parse_tcp(address, bind=bind)
            except InvalidEndpoint:
                pass


UNITS = {
    "empty": b"\x00\x00",
    "short": b"\x00\x03abc",
    "multipart": b"\x01\x01a\x00\x01b",
    "parts": b"\x01\x00",
    "long form": b"\x02" + (3).to_bytes(8, "big") + b"abc",
    "ping": helpers.command(b"PING", b"\0\0x"),
    "subscribe": helpers.command(b"SUBSCRIBE", b"t"),
    "mixed": b"\x00\x01a\x01\x01a\x00\x01b\x04\x04\x03FOO" + helpers.frame(b"z" * 300),
    "broken runs": b"\x00\x01a" * 33 + b"\x00\x02ab" * 33,
}
OLD = b"\2\1a\2\0b\xff" + (3).to_bytes(8, "big") + b"\0cd"
CASES: dict[str, tuple[Callable[[int], None], int]] = {
    **{
        f"{name}, reads of {step}, {limit} at a time": (partial(traffic, unit, step, limit), N)
        for name, unit in UNITS.items()
        for step, limit in ((1 << 30, 1000), (7, 3), (1 << 30, 1))
    },
    **{
        f"ZMTP 1.0, reads of {step}, {limit} at a time": (partial(traffic, OLD, step, limit, start=b"\1\0"), N)
        for step, limit in ((1 << 30, 1000), (7, 3), (1 << 30, 1))
    },
    "one frame of ZMTP 1.0": (lambda n: traffic(b"\xff" + n.to_bytes(8, "big") + bytes(n), 1, 10, 1, b"\1\0"), 20_000),
    "trickle": (trickle, 8000),
    "properties": (properties, 1000),
    "two long topics": (
        partial(matching, lambda n: [b"x" * n + b"a", b"x" * n + b"b"], lambda n: b"x" * n + b"c"),
        20000,
    ),
    "siblings": (partial(matching, lambda n: [b"%07d" % k for k in range(n)], lambda n: b"0001234"), 1000),
    "few topics, long texts": (partial(matching, lambda n: [b"x" * k for k in range(20)], lambda n: b"y" * n), 50000),
    **{
        f"endpoint of {text!r}": (partial(endpoint, text), N)
        for text in ("a", ":", ".", "a.", "[", "%", "1", ";", "a-")
    },
}


def seconds(run: Callable[[int], None], count: int) -> float:
    """What the thread has worked."""
    start = thread_time()
    run(count)
    return thread_time() - start


@pytest.mark.parametrize("case", CASES)
def test_linear(case: str) -> None:
    """Eight times the input, at most thirty times the work."""
    run, count = CASES[case]
    gc.disable()
    try:
        small = min(seconds(run, max(1, count // 8)) for _ in range(3))
        large = math.inf
        for _ in range(3):
            large = min(large, seconds(run, count))
            if fine := large < 0.005 or large < 30 * small:
                break
    finally:
        gc.enable()
    assert fine, f"{small:.4f} s, and {large:.4f} s for eight times as much"
