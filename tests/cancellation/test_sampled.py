"""Promise 1 on real transports, sampled: every call of both sides under random cancellation, seeds printed.

None lost, none twice, in order per sender, no frame torn, nothing left waiting; afterwards flush returns, the sockets
close within their linger, and no task is left in the context. The clock is real: waits are for levels.
"""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import trio
from cancellation import sampled
from cancellation.sampled import LIMIT, PATTERNS, SEED, Flow, Haste, Source, converse, no_task_left, put_away
from programs import environment

import trimq

Checkpoints = Literal["amortised", "every"]
CHECKPOINTS = pytest.mark.parametrize("checkpoints", ["amortised", "every"])
TRANSPORTS = pytest.mark.parametrize("transport", ["tcp", "ipc"])
SMALL, NORMAL = 2, 1000  # high-water marks
HWMS = pytest.mark.parametrize("hwm", [SMALL, NORMAL])
COUNT = 100
STRESS = 20_000
NAMES = [name for name in PATTERNS if name != "stress"]


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[trimq.Context]:
    """A context, and a deadline for it and all that is done in it."""
    with trio.fail_after(LIMIT):
        async with trimq.open_context(**options) as context:
            yield context


@pytest.fixture
def wildcard(transport: str, tmp_path: Path) -> str:
    """Where to bind."""
    return "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/socket"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Where no connection is lost, nothing is dropped and nothing is in doubt (promise 6: it would be told)."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


class Meeting:
    """Tells one side of a conversation where the other has bound."""

    def __init__(self, wildcard: str) -> None:
        self.wildcard = wildcard
        self.bound: object = None
        self.there = trio.Event()

    async def first(self, bound: object) -> str:
        if bound is not None:
            self.bound = bound
            self.there.set()
        return self.wildcard

    async def second(self, _: object) -> object:
        await self.there.wait()
        return self.bound


def agree(name: str, sides: list[dict[str, list[int]]], count: int = COUNT) -> None:
    """What each side got is what the other has sent, in order."""
    pattern = PATTERNS[name]
    for side in (0, 1):
        if side in pattern.flows:
            sent, got = sides[side]["sent"], sides[1 - side]["got"]
            assert sent[-1] == count
            assert got == sent
    assert sides[0]["cancelled"][0] + sides[1]["cancelled"][0] > 5  # else it proves nothing


@CHECKPOINTS
@TRANSPORTS
@HWMS
@pytest.mark.parametrize("name", NAMES)
async def test_one_process(name: str, hwm: int, checkpoints: Checkpoints, wildcard: str) -> None:
    """Both sides of every pattern in one run, in competition for it."""
    agree(name, await in_one_process(name, hwm, checkpoints, wildcard, COUNT))


@pytest.mark.slow
@CHECKPOINTS
@pytest.mark.parametrize("transport", ["tcp"])
async def test_stress(checkpoints: Checkpoints, wildcard: str) -> None:
    """demand.md 0.1: 20,000 numbered messages, tiny random deadlines on both ends; none lost, none twice, in order."""
    sides = await in_one_process("stress", 100, checkpoints, wildcard, STRESS)
    agree("stress", sides, STRESS)
    assert sides[1]["got"] == list(range(STRESS + 1))


async def in_one_process(name: str, hwm: int, checkpoints: Checkpoints, wildcard: str, count: int) -> list[Any]:
    """Both sides; returns what each has to say."""
    sides: list[Any] = [None, None]
    meeting = Meeting(wildcard)
    async with running(checkpoints=checkpoints, send_hwm=hwm, receive_hwm=hwm) as context:

        async def run(side: int) -> None:
            meet = (meeting.first, meeting.second)[side]
            sides[side] = await converse(context, PATTERNS[name], side, (SEED, name, hwm, checkpoints), count, meet)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, 0)
            nursery.start_soon(run, 1)
        await no_task_left(context)
    return sides


class Other:
    """A process that takes the other sides."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def begin(self, **job: Any) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", sampled.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    async def line(self, key: str) -> Any:
        """The next line that has this key; others are what the process prints for people."""
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            text = await trio.to_thread.run_sync(self._process.stdout.readline, abandon_on_cancel=True)
            assert text, "the other process has ended: its traceback is above"
            print("other:", text, end="")
            if text.startswith("{") and key in (answer := json.loads(text)):
                return answer[key]

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process = None


@pytest.fixture(scope="module")
def process() -> Iterator[Other]:
    """One for all tests: starting it takes longer than most of them."""
    other = Other()
    yield other
    other.end()


@CHECKPOINTS
@TRANSPORTS
@pytest.mark.parametrize("mine", [0, 1], ids=["binds", "connects"])
@pytest.mark.parametrize("name", NAMES)
async def test_two_processes(name: str, mine: int, checkpoints: Checkpoints, wildcard: str, process: Other) -> None:
    """The same with a process for each side: batches, half-full buffers and torn reads as they come."""
    agree(name, await in_two_processes(name, mine, checkpoints, wildcard, process, COUNT))


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp"])
@pytest.mark.parametrize(("mine", "checkpoints"), [(0, "amortised"), (1, "every")], ids=["sends", "receives"])
async def test_stress_of_two_processes(mine: int, checkpoints: Checkpoints, wildcard: str, process: Other) -> None:
    """demand.md 0.1 once more, with a process for each end."""
    sides = await in_two_processes("stress", mine, checkpoints, wildcard, process, STRESS)
    agree("stress", sides, STRESS)
    assert sides[1]["got"] == list(range(STRESS + 1))


async def in_two_processes(
    name: str, mine: int, checkpoints: Checkpoints, wildcard: str, process: Other, count: int
) -> list[Any]:
    """One side here, the other there; returns what each has to say."""
    seed = f"{SEED} {name} {mine} {checkpoints}"
    hwm = random.Random(seed).choice([SMALL, 20, NORMAL])
    job = {"pattern": name, "seed": seed, "count": count, "checkpoints": checkpoints, "hwm": hwm}
    complete = False
    try:
        async with running(checkpoints=checkpoints, send_hwm=hwm, receive_hwm=hwm) as context:

            async def meet_first(bound: object) -> str:
                if bound is not None:
                    process.begin(side=1, endpoint=str(bound), **job)
                return wildcard

            async def meet_second(_: object) -> str:
                process.begin(side=0, endpoint=wildcard, **job)
                return str(await process.line("endpoint"))

            meet = (meet_first, meet_second)[mine]
            here = await converse(context, PATTERNS[name], mine, seed, count, meet)
            there = await process.line("result")
            await no_task_left(context)
        complete = True
    finally:
        if not complete:
            process.end()
    return [here, there] if mine == 0 else [there, here]


# Several tasks on one socket

MANY = {
    "push-pull": (trimq.Push, trimq.Pull),
    "pair-pair": (trimq.Pair, trimq.Pair),
    "dealer-dealer": (trimq.Dealer, trimq.Dealer),
    "dealer-router": (trimq.Dealer, trimq.Router),
    "router-dealer": (trimq.Router, trimq.Dealer),
    "pub-sub": (trimq.Pub, trimq.Sub),
}
TASKS = 4
FAR = 1_000_000  # between the numbers of two tasks


@CHECKPOINTS
@TRANSPORTS
@HWMS
@pytest.mark.parametrize("kinds", MANY.values(), ids=list(MANY))
async def test_several_tasks(kinds: Any, hwm: int, checkpoints: Checkpoints, wildcard: str) -> None:
    """Tasks that send and receive on one socket, all in a hurry: together they get each message once, and each gets
    those of one sender in order; nobody is left waiting.
    """
    sender_kind, receiver_kind = kinds
    flow = Flow(f"{SEED} {hwm} {checkpoints}")
    haste = Haste(flow.seed)
    async with running(checkpoints=checkpoints, send_hwm=hwm, receive_hwm=hwm) as context:
        sender, receiver = context.socket(sender_kind), context.socket(receiver_kind)
        for socket in (sender, receiver):
            match socket:
                case trimq.Dealer():
                    socket.routing_id = b"them"
                case trimq.Router():
                    socket.mandatory = True
                case trimq.Pub():
                    socket.nodrop = True
                case trimq.Sub():
                    socket.subscribe(b"")
                case _:
                    pass
        receiver.connect(sender.bind(wildcard))
        await sender.wait_for_peers(1)
        if sender_kind is trimq.Pub:
            await sender.wait_for_subscribers(1, b"")
        prefix = [b"them"] * (sender_kind is trimq.Router)
        strip = receiver_kind is trimq.Router
        sources = [Source(flow, range(n * FAR, n * FAR + COUNT // 2), prefix) for n in range(TASKS)]
        got: list[list[int]] = [[] for _ in range(TASKS)]

        def over() -> bool:
            return sum(map(len, got)) >= TASKS * (COUNT // 2)

        async def receive(mine: list[int]) -> None:
            await sampled.receive_some(receiver, lambda m: mine.append(flow.number(m[strip:])), over, haste)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(haste.hurry)
            async with trio.open_nursery() as talk:
                for source, mine in zip(sources, got, strict=True):
                    talk.start_soon(sampled.send_some, sender, source, haste)
                    talk.start_soon(receive, mine)
            nursery.cancel_scope.cancel()
        with pytest.raises(trio.WouldBlock):
            receiver.receive_nowait()  # none twice
        await put_away(context, sender)
        await put_away(context, receiver)
        await no_task_left(context)
    sent = [number for source in sources for number in source.sent]
    assert sorted(number for mine in got for number in mine) == sorted(sent)
    assert len(sent) == TASKS * (COUNT // 2)
    for mine in got:
        for n in range(TASKS):
            of_one = [number for number in mine if number // FAR == n]
            assert of_one == sorted(of_one)
    assert haste.cancelled > 10


# Req and Rep


@CHECKPOINTS
@TRANSPORTS
@pytest.mark.parametrize("relaxed", [False, True], ids=["strict", "relaxed"])
@pytest.mark.parametrize("req_binds", [False, True], ids=["connects", "binds"])
async def test_req_rep(relaxed: bool, req_binds: bool, checkpoints: Checkpoints, wildcard: str) -> None:
    """A Req that is cancelled before, in and between send and receive, and a Rep likewise: the Rep sees each request
    that was sent once, in order, and each reply is that of the last request; a relaxed Req may give one up.
    """
    seed = f"{SEED} {relaxed} {req_binds} {checkpoints}"
    flow, asks, answers = Flow(seed), Haste(seed + " req"), Haste(seed + " rep")
    async with running(checkpoints=checkpoints) as context:
        req = context.socket(trimq.Req, relaxed=relaxed, correlate=relaxed)
        rep = context.socket(trimq.Rep)
        if req_binds:
            rep.connect(req.bind(wildcard))
        else:
            req.connect(rep.bind(wildcard))
        asked: list[int] = []
        seen: list[int] = []
        replies = 0

        async def ask() -> None:
            nonlocal replies
            for number in range(COUNT):
                sent = done = False
                while not done:
                    with asks.scope():
                        if not sent:
                            await req.send(flow.message(number))
                            sent = True
                            asked.append(number)
                        if asks.random.random() < 0.5:
                            [reply] = await req.receive_many()
                        else:
                            reply = await req.receive()
                        done = True
                        assert reply == [b"re", *flow.message(number)]
                        replies += 1
                    if sent and relaxed and number < COUNT - 1 and asks.random.random() < 0.25:
                        done = True  # with or without its reply

        async def answer() -> None:
            request: list[bytes] | None = None
            while seen[-1:] != [COUNT - 1] or request is not None:
                with answers.scope():
                    if request is None:
                        request = await rep.receive()
                        seen.append(flow.number(request))
                    await rep.send([b"re", *request])
                    request = None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(asks.hurry)
            nursery.start_soon(answers.hurry)
            async with trio.open_nursery() as talk:
                talk.start_soon(ask)
                talk.start_soon(answer)
            nursery.cancel_scope.cancel()
        await put_away(context, req)
        await put_away(context, rep)
        await no_task_left(context)
    assert asked == seen == list(range(COUNT))
    assert replies < COUNT if relaxed else replies == COUNT
    assert asks.cancelled > 20
    assert answers.cancelled > 20


# Stream


class Pieces(Flow):
    """Bytes: messages have no borders in a stream, so that only all of them together can be compared."""

    def message(self, number: int) -> list[bytes]:
        return [b",".join([b"%d" % number, *super().message(number)])]


@CHECKPOINTS
@TRANSPORTS
@HWMS
async def test_stream(hwm: int, checkpoints: Checkpoints, wildcard: str) -> None:
    """Two Streams, both ways at once: the bytes that arrive are those that were sent, once, in order."""
    seed = f"{SEED} {hwm} {checkpoints}"
    async with running(checkpoints=checkpoints, send_hwm=hwm, receive_hwm=hwm) as context:
        sockets = [context.socket(trimq.Stream), context.socket(trimq.Stream)]
        sockets[1].connect(sockets[0].bind(wildcard))
        flows = [Pieces(f"{seed} {side}") for side in (0, 1)]
        hastes = [Haste(f"{seed} {side}") for side in (0, 1)]
        sent = [b"".join(flow.message(number)[0] for number in range(COUNT)) for flow in flows]
        got = [bytearray(), bytearray()]

        async def talk(side: int) -> None:
            socket = sockets[side]
            [routing_id, told] = await socket.receive()
            assert told == b""
            source = Source(flows[side], range(COUNT), [routing_id])

            def take(message: list[bytes]) -> None:
                assert message[0] == routing_id
                assert message[1]  # an empty one would tell that the connection has ended
                got[1 - side].extend(message[1])

            def over() -> bool:
                return len(got[1 - side]) >= len(sent[1 - side])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(sampled.send_some, socket, source, hastes[side])
                nursery.start_soon(sampled.receive_some, socket, take, over, hastes[side])

        async with trio.open_nursery() as nursery:
            for haste in hastes:
                nursery.start_soon(haste.hurry)
            async with trio.open_nursery() as both:
                both.start_soon(talk, 0)
                both.start_soon(talk, 1)
            nursery.cancel_scope.cancel()
        for socket in sockets:
            await put_away(context, socket)
        await no_task_left(context)
    assert got == sent
    assert hastes[0].cancelled + hastes[1].cancelled > 20
