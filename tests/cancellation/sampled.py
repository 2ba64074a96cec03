"""Conversations under random cancellation: both sides send numbered messages, and every call may be cancelled.

`converse` is one side of one. Run as a script it is the other side, in a process of its own: one JSON job a line.
Content, sizes, deadlines and verbs all come from a seed, so that a receiver knows what each number must look like.
When which call is cancelled is the machine's business, too: that a test passes must not depend on it. So no limit is a
measure of speed, some calls have all the time they need, and some are cancelled whatever happens.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import attrs
import trio

import trimq

SEED = os.environ.get("TRIMQ_SEED", "20261125")
# Seconds, mostly too few; each is made shorter at random. Without the last, nothing would go on where a tick takes longer.
DEADLINES = [0.0, 1e-6, 2e-5, 5e-5, 2e-4, 1e-3, math.inf]
RUNS = [1, 2, 3, 5, 40]  # messages that a call is to send or take at most
SPARED = 4  # calls in a row that are not cancelled; the next one is
SIZES = [0, 1, 7, 63, 254, 255, 256, 1000, 8191, 8193]  # bytes; some stand at the borders of the wire's length field
LARGE = [65_535, 65_536, 300_000, 1 << 20]
BLOCK = random.Random(0).randbytes(1 << 21)
LINGER = 30.0  # seconds, of which none should be needed where the peer reads
LIMIT = 60.0  # seconds that a test may take on a machine that hardly runs; one that needs them hangs


class Haste:
    """Scopes that may be cancelled at any moment: by their deadline, or by `hurry` in whatever tick."""

    def __init__(self, seed: object) -> None:
        print(f"seed {seed}; to try another: TRIMQ_SEED=...")  # pytest shows it where a test fails
        self.random = random.Random(str(seed))
        self.cancelled = 0
        self._picks = random.Random(f"{seed} picks")  # of its own: how often it is asked is a matter of time
        self._scopes: dict[trio.CancelScope, None] = {}
        self._spared = 0

    @contextmanager
    def scope(self) -> Iterator[trio.CancelScope]:
        """What is done in it has little time, or none."""
        seconds = self.random.choice(DEADLINES) * (1 - self.random.random())
        with trio.move_on_after(0 if self._spared >= SPARED else seconds) as scope:
            self._scopes[scope] = None
            try:
                yield scope
            finally:
                del self._scopes[scope]
        self._spared = 0 if scope.cancelled_caught else self._spared + 1
        self.cancelled += scope.cancelled_caught

    async def hurry(self) -> None:
        """Cancels one scope or another, a few thousand times a second, for ever; those without a deadline, too."""
        while True:
            # The real clock: what is sampled are moments in time. No test waits for it, it only makes more cancellations.
            await trio.sleep(3e-4 * self._picks.random())
            if self._scopes:
                self._picks.choice(list(self._scopes)).cancel()


@attrs.frozen
class Flow:
    """One direction: the messages it may have, by their numbers."""

    seed: str
    frames: int = 4  # at most, after the first, which is the number

    def message(self, number: int) -> list[bytes]:
        """Always the same one for a number."""
        if not self.frames:
            return [b"%d" % number]
        source = random.Random(f"{self.seed} {number}")
        sizes = source.choices(SIZES, k=source.randint(0, self.frames))
        if sizes and source.random() < 0.02:
            sizes[-1] = source.choice(LARGE)
        pieces = [BLOCK[start : start + size] for size in sizes for start in [source.randrange(len(BLOCK) - size)]]
        return [b"%d" % number, *pieces]

    def number(self, message: list[bytes]) -> int:
        """Which one this is; AssertionError if it is none, or torn."""
        number = int(message[0])
        expected = self.message(number)
        assert [len(frame) for frame in message] == [len(frame) for frame in expected], f"{self.seed}: {number} is torn"
        assert message == expected, f"{self.seed}: {number} has other content"
        return number


class Numbered(Protocol):
    """What a `Source` asks of a flow."""

    def message(self, number: int) -> list[bytes]: ...


class Source:
    """The messages of a flow, as an iterator; knows which were sent, since who takes one from it has sent it."""

    def __init__(self, flow: Numbered, numbers: Iterable[int], prefix: list[bytes]) -> None:
        self.sent: list[int] = []
        self._flow = flow
        self._numbers = iter(numbers)
        self._prefix = prefix
        self._next = next(self._numbers, None)

    @property
    def over(self) -> bool:
        return self._next is None

    def peek(self) -> list[bytes]:
        assert self._next is not None
        return [*self._prefix, *self._flow.message(self._next)]

    def sends(self) -> None:
        assert self._next is not None
        self.sent.append(self._next)
        self.skip()

    def skip(self) -> None:
        self._next = next(self._numbers, None)

    def __iter__(self) -> Iterator[list[bytes]]:
        return self

    def __next__(self) -> list[bytes]:
        if self._next is None:
            raise StopIteration
        message = self.peek()
        self.sends()
        return message


async def send_some(socket: Any, source: Source, haste: Haste, *, skips: bool = False) -> None:
    """Sends all of the source's messages, each call by a verb at random and in a hurry.

    A message whose call was cancelled is sent again; or, with ``skips``, at random never.
    """
    verbs = ["send", "nowait", *(["many"] if hasattr(socket, "send_many") else [])]
    while not source.over:
        verb = haste.random.choice(verbs)
        tried = False
        with haste.scope():
            if verb == "many":
                await socket.send_many(itertools.islice(source, haste.random.choice(RUNS)))
            elif verb == "send":
                message, tried = source.peek(), True
                await socket.send(message)
                tried = False
                source.sends()
            else:
                await socket.wait_sendable()
                try:
                    socket.send_nowait(source.peek())
                    source.sends()
                except trio.WouldBlock:
                    pass  # another task was quicker, or room is somewhere else
        if tried and skips and haste.random.random() < 0.5:
            source.skip()


async def receive_some(
    socket: Any, take: Callable[[list[bytes]], object], over: Callable[[], bool], haste: Haste
) -> None:
    """Receives until it is over, each call by a verb at random and in a hurry; ``take`` is given the messages."""
    while not over():
        verb = haste.random.choice(["receive", "many", "for", "nowait"])
        with haste.scope():
            if verb == "receive":
                take(await socket.receive())
            elif verb == "many":
                for message in await socket.receive_many(haste.random.choice(RUNS)):
                    take(message)
            elif verb == "for":
                left = haste.random.choice(RUNS)
                async for message in socket:
                    take(message)
                    left -= 1
                    if over() or not left:
                        break
            else:
                await socket.wait_receivable()
                try:
                    take(socket.receive_nowait())
                except trio.WouldBlock:
                    pass  # another task was quicker


@attrs.frozen
class Pattern:
    """Two kinds of sockets, and what flows between them. The first side binds."""

    kinds: tuple[str, str]
    options: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    flows: tuple[int, ...] = (0,)  # which side sends
    frames: int = 4
    skips: bool = True  # whether a message may be given up when its send was cancelled


PATTERNS = {
    "push-pull": Pattern(("Push", "Pull")),
    "pull-push": Pattern(("Pull", "Push"), flows=(1,)),
    "pair-pair": Pattern(("Pair", "Pair"), flows=(0, 1)),
    "dealer-dealer": Pattern(("Dealer", "Dealer"), flows=(0, 1)),
    "router-dealer": Pattern(("Router", "Dealer"), ({"mandatory": True}, {"routing_id": b"them"}), flows=(0, 1)),
    "dealer-router": Pattern(("Dealer", "Router"), ({"routing_id": b"them"}, {"mandatory": True}), flows=(0, 1)),
    "pub-sub": Pattern(("Pub", "Sub"), ({"nodrop": True}, {})),
    "xpub-xsub": Pattern(("XPub", "XSub"), ({"nodrop": True}, {"send_hwm": 10_000}), flows=(0, 1)),
    "stress": Pattern(("Push", "Pull"), frames=0, skips=False),
}


async def converse(
    context: trimq.Context,
    pattern: Pattern,
    side: int,
    seed: object,
    count: int,
    meet: Callable[[trimq.Endpoint | None], Awaitable[Any]],
    **options: Any,
) -> dict[str, list[int]]:
    """One side of a conversation, to the end of its socket.

    Args:
      side: 0 binds, and gives its endpoint to ``meet``; 1 gives None, and gets the endpoint from it.

    Returns:
      the numbers that were ``sent``, and those that came (``got``), in order; how many calls were ``cancelled``.
    """
    kind = pattern.kinds[side]
    socket: Any = context.socket(getattr(trimq, kind), linger=LINGER, **{**options, **pattern.options[side]})
    haste = Haste(f"{seed} {side}")
    if kind in ("Sub", "XSub"):
        socket.subscribe(b"")
    if side == 0:
        await meet(socket.bind(await meet(None)))
    else:
        socket.connect(await meet(None))
    if kind in ("Router", "XSub"):
        await socket.wait_for_peers(1)
    if kind in ("Pub", "XPub"):
        await socket.wait_for_subscribers(1, b"")
    if kind == "XPub":
        assert await socket.receive() == [b"\1"]
    routes = kind == "Router"
    got: list[int] = []
    sources: list[Source] = []

    def flow(number: int) -> Flow:
        # XPub would take a frame that begins with 0 or 1 for a subscription
        upstream = pattern.kinds[number] == "XSub"
        return Flow(f"{seed} {number}", 0 if upstream else pattern.frames)

    async def send() -> None:
        source = Source(flow(side), range(count), [b"them"] * routes)
        sources.append(source)
        await send_some(socket, source, haste, skips=pattern.skips)
        await socket.send([b"them"] * routes + flow(side).message(count))  # the end is told, whatever was skipped

    async def receive() -> None:
        incoming = flow(1 - side)

        def take(message: list[bytes]) -> None:
            if kind == "XPub" and got[-1:] == [count]:
                assert message == [b"\0"]  # the peer has gone, and its subscription with it
            else:
                got.append(incoming.number(message[routes:]))

        await receive_some(socket, take, lambda: got[-1:] == [count], haste)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(haste.hurry)
        async with trio.open_nursery() as talk:
            if side in pattern.flows:
                talk.start_soon(send)
            if 1 - side in pattern.flows:
                talk.start_soon(receive)
        nursery.cancel_scope.cancel()
    await put_away(context, socket, flushes=side in pattern.flows)
    return {"sent": [*sources[0].sent, count] if sources else [], "got": got, "cancelled": [haste.cancelled]}


async def put_away(context: trimq.Context, socket: Any, *, flushes: bool = True) -> None:
    """After a conversation nothing waits, flush returns, and the socket closes."""
    assert not any(len(line) for line in socket._lines())
    for bell in (socket._peer_bell, socket._read_bell, socket._write_bell):
        assert not bell._sleepers
    if flushes:
        await socket.flush()
    await socket.aclose()
    assert not socket._carriers
    assert socket not in context._sockets


async def no_task_left(context: trimq.Context) -> None:
    """When its sockets are closed, no task is left in the context but those of the context itself."""
    services = context._services
    assert services is not None
    left = trio.Event()

    def look() -> None:
        if len(services.child_tasks) <= context._heart._runs:
            left.set()

    class Exits(trio.abc.Instrument):
        def task_exited(self, task: trio.lowlevel.Task) -> None:
            look()

    look()
    exits = Exits()
    trio.lowlevel.add_instrument(exits)
    try:
        await left.wait()
    finally:
        trio.lowlevel.remove_instrument(exits)


async def _job(pattern: str, side: int, seed: str, count: int, checkpoints: Any, endpoint: str, hwm: int) -> Any:
    async def meet(bound: object) -> str:
        if bound is not None:
            print(json.dumps({"endpoint": str(bound)}), flush=True)
        return endpoint

    with trio.fail_after(LIMIT):
        async with trimq.open_context(checkpoints=checkpoints, send_hwm=hwm, receive_hwm=hwm) as context:
            result = await converse(context, PATTERNS[pattern], side, seed, count, meet)
            await no_task_left(context)
    return result


if __name__ == "__main__":
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps({"result": trio.run(lambda job=job: _job(**job))}), flush=True)
