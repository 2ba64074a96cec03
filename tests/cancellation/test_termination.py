"""Every pending call against every end, alone and in ordered pairs within one tick (promises 1, 2 and 4).

What must come out is written down in `expected`, from the promises, as a function of the events alone. Events:

- ``message``: what the call waits for comes (a message, room, a peer);
- ``lost``: the connection is cut, or the inproc peer closed;
- ``shutdown``, ``close``, ``aclose``: called by another task;
- ``own``: the call's own scope is cancelled; ``cancel``: a scope around the context's block is;
- ``crash``: a service task of the context raises;
- ``error``, ``interrupt``, ``leave``: the body raises, raises KeyboardInterrupt, or ends. They end the body, so that
  they come last.

The caller is a task in the body (``inside``) or one that outlives the block (``outside``).
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NoReturn

import attrs
import pytest
import trio
from cancellation.scenes import ADDRESSES, LEVEL, LONG, MINE, RECEIVE, SEND, STEPS, Make, Scene
from trio.testing import MockClock, wait_all_tasks_blocked

import trimq
from trimq._errors import without
from trimq._message import Shared
from trimq.testing import MemoryTransport

GOT, WAITS = "got it", "waits"
Outcome = str | type[BaseException]

LAST = ("error", "interrupt", "leave")
EVENTS = ("message", "lost", "shutdown", "close", "aclose", "own", "cancel", "crash", *LAST)
EXCLUSIVE = [set(pair) for pair in itertools.combinations(LAST, 2)] + [{"close", "aclose"}]


class Bug(Exception):
    """What a service task raises that has a bug."""


class _Leave(Exception):
    """Ends the body, normally."""


# What is expected


@attrs.frozen
class Case:
    """A scene, and what its call does when what it waits for comes."""

    name: str
    make: Make
    address: str

    @property
    def id(self) -> str:
        return f"{self.name}-{'inproc' if self.inproc else 'memory'}"

    @property
    def inproc(self) -> bool:
        return self.address.startswith("inproc:")

    @property
    def waits_for(self) -> str:
        """A ``result`` that is handed over, its ``turn`` to take something, or a ``level`` that is looked at."""
        return "level" if self.name in (*LEVEL, *ANY) else "turn" if self.name.endswith("send_many") else "result"

    @property
    def quick(self) -> bool:
        """Whether what it waits for can come within the tick; connecting in memory takes several."""
        slow = ("Push.send, nobody", "Scatter.send, nobody", "Req.send", "Req.wait_sendable", *SLOW_LEVELS)
        return self.inproc or self.name not in slow

    @property
    def lost(self) -> Outcome:
        """What the loss of the peer is to the call: nothing, or one reason less to wait."""
        if self.name.startswith(("Pub.send", "XPub.send", "Pub.wait_sendable")):
            return GOT  # nobody has subscribed any more
        if self.name.startswith("Stream.receive"):
            return GOT  # it is told, as an empty frame
        if self.name == "Stream.send":
            return trimq.HostUnreachable  # a stream ends with its connection
        return WAITS

    @property
    def lost_again(self) -> Outcome:
        """What becomes of a call that looks at a level when that was true and is not any more."""
        if self.name == "ready":
            return ConnectionResetError  # inproc has given up: its cause
        if self.waits_for == "turn" or self.name in ("wait_for_peers", "wait_for_subscribers"):
            return self.lost
        return self.lost if self.name.endswith("wait_sendable") else GOT


SLOW_LEVELS = ("ready", "wait_for_peers")
ANY = ("wait_any", "wait_any of four")


def expected(case: Case, events: tuple[str, ...], *, inside: bool) -> set[Outcome]:
    """What may come of the call: one thing, but where two events take a number of ticks that is nobody's business."""
    cancels = {"own", "cancel", "error"} if inside else {"own"}
    slow = {"crash"} if inside else {"crash", "cancel"}  # the body, or its services, have to notice first
    if not case.quick:
        slow.add("message")
    if not case.inproc:
        slow.add("lost")

    def says(event: str) -> Outcome:
        if event == "message":
            return GOT
        if event == "lost":
            return case.lost
        if event in ("close", "aclose"):
            return trimq.SocketClosed
        if event in cancels or (event == "crash" and inside):
            return trio.Cancelled
        return trimq.ContextTerminated

    at_once = [says(event) for event in events if event not in slow and says(event) != WAITS]
    later = {says(event) for event in events if event in slow} - {WAITS}
    if case.waits_for != "result" and case.inproc and events == ("message", "lost"):
        return {case.lost_again}
    decided = _first(case, at_once)
    if inside and "crash" in events:
        later.add(
            trimq.ContextTerminated
        )  # whether the body's cancellation is there as well in time is nobody's business
    if decided == WAITS:
        return later or {WAITS}
    if (
        case.waits_for != "result"
        and slow.intersection(events, ("cancel", "crash"))
        and decided
        in (
            GOT,
            trimq.SocketClosed,
        )
    ):
        return {decided, trimq.ContextTerminated}  # the context may have ended just before the call looks
    return {decided}


def _first(case: Case, outcomes: list[Outcome]) -> Outcome:
    """What becomes of the call if all this happens before it runs again."""
    if case.waits_for == "result":
        for n, outcome in enumerate(outcomes):
            if outcome == GOT:
                return GOT  # promise 1: a call that was handed its result returns it
            # Promise 2: Cancelled wins over every end; else the first counts.
            return trio.Cancelled if trio.Cancelled in outcomes[n:] else outcome
        return WAITS
    if case.waits_for == "turn":
        if outcomes[:1] == [GOT]:  # its turn has come: it sends, unless nothing can be sent any more
            ends = [outcome for outcome in outcomes if outcome not in (GOT, trio.Cancelled)]
            return ends[0] if ends else GOT
        return trio.Cancelled if trio.Cancelled in outcomes else outcomes[0] if outcomes else WAITS
    # It looks again when it runs: is it cancelled, has the socket ended, is the level there?
    ends = [outcome for outcome in outcomes if outcome != GOT]
    if trio.Cancelled in ends:
        return trio.Cancelled
    if case.name in ANY and trimq.ContextTerminated in ends:
        return trimq.ContextTerminated  # the other sockets have ended, too, and nobody closed them
    if case.name != "ready" and trimq.SocketClosed in ends:
        return trimq.SocketClosed  # its user has closed it: that is what later calls say as well
    return ends[0] if ends else GOT if outcomes else WAITS


def leaves(events: tuple[str, ...]) -> tuple[type[BaseException], ...]:
    """What leaves the block, by promise 4: nothing, one thing, or two in one group."""
    if "interrupt" in events:
        return (KeyboardInterrupt,)  # bare; a crash beside it is logged
    return tuple(kind for event, kind in (("error", KeyError), ("crash", Bug)) if event in events)


# A trial


class Caller:
    """Makes the call, and keeps how it ended."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.scope = trio.CancelScope()
        self.done = trio.Event()
        self.outcome: Outcome = WAITS
        self.result: Any = None

    async def run(self) -> None:
        with self.scope:
            try:
                self.result = await self.scene.call()
                self.outcome = GOT
            except trio.Cancelled:
                self.outcome = trio.Cancelled
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
                self.outcome = type(error)
            finally:
                self.done.set()


class Trial:
    """One scene, and what happens to it in one tick."""

    def __init__(self, case: Case, events: tuple[str, ...], *, inside: bool) -> None:
        self.case = case
        self.events = events
        self.inside = inside
        self.network = MemoryTransport(buffer=64)
        self.outer = trio.CancelScope()
        self.bug = trio.Event()
        self.raised: BaseException | None = None  # by the body
        self.left: BaseException | None = None  # the block
        self.outcome: Outcome = WAITS

    async def run(self) -> None:
        async with trio.open_nursery() as outside:
            self.outside = outside
            with self.outer:
                try:
                    async with trimq.open_context(transports=[self.network], linger=0.0) as self.context:
                        try:
                            if self.inside:
                                async with trio.open_nursery() as nursery:
                                    await self.body(nursery)
                            else:
                                await self.body(outside)
                        except BaseException as error:
                            self.raised = error
                            raise
                except BaseException as error:
                    if without(error, lambda leaf: isinstance(leaf, trio.Cancelled)) is None:
                        raise
                    self.left = error
            await wait_all_tasks_blocked()
            self.outcome = self.caller.outcome  # of who still waits after the block: that is a hang
            outside.cancel_scope.cancel()

    async def body(self, nursery: trio.Nursery) -> None:
        scene = await self.case.make(self.context, self.case.address)
        self.scene = scene
        self.peer = list(self.context._sockets)[1]
        self.context._spawn(self.service)
        self.caller = Caller(scene)
        nursery.start_soon(self.caller.run)
        await wait_all_tasks_blocked()
        assert not self.caller.done.is_set(), "the scene's call should wait"
        self.context._pace.slice.due = math.inf  # what follows is in one tick
        try:
            for n, event in enumerate(self.events):
                if event == "aclose":
                    await self.aclose(self.events[n + 1 :])
                    break
                self.happen(event)
        except _Leave:
            return
        with trio.move_on_after(2 * LONG):
            await self.caller.done.wait()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
        await trio.lowlevel.checkpoint()
        self.caller.scope.cancel()
        if not self.caller.done.is_set():
            self.caller = Caller(scene)  # it waits for ever: what the cancellation now does to it does not count

    async def service(self) -> NoReturn:
        await self.bug.wait()
        raise Bug

    async def aclose(self, events: tuple[str, ...]) -> None:
        """aclose, and within it, as soon as it has closed the socket, the other events."""
        socket = self.scene.socket

        def close() -> None:
            del socket.close
            socket.close()
            for event in events:
                self.happen(event)

        socket.close = close
        await socket.aclose()

    def happen(self, event: str) -> None:
        if event == "message":
            try:
                self.message()
            except (trimq.ZMQError, trio.WouldBlock):
                assert self.events[0] != "message"  # the peer may have ended with the rest
        elif event == "lost":
            if self.case.inproc:
                self.peer.close()
            else:
                self.network.drop_all()
        elif event == "shutdown":
            self.context.shutdown()
        elif event == "close":
            self.scene.socket.close()
        elif event == "own":
            self.caller.scope.cancel()
        elif event == "cancel":
            self.outer.cancel()
        elif event == "crash":
            self.bug.set()
        elif event == "error":
            raise KeyError("body")
        elif event == "interrupt":
            raise KeyboardInterrupt
        else:
            assert event == "leave"
            raise _Leave

    def message(self) -> None:
        """What the call waits for comes, within this tick where the case is quick."""
        if not self.case.quick:
            self.outside.start_soon(self.quietly)
        elif self.scene.arrive is not None:
            self.scene.arrive()
            if not self.case.inproc:
                self.carry()
        elif self.case.inproc:
            self.let_in()
        else:
            for remote in self.scene.socket._remotes:  # a link has written all
                remote.outbox.hold(1000)
                remote.outbox.taken()

    async def quietly(self) -> None:
        try:
            await self.scene.unblock()
        except trimq.ZMQError:
            pass

    def let_in(self) -> None:
        """The inproc peer makes room."""
        if self.peer.peers:
            while True:
                try:
                    self.peer.receive_nowait()
                except trio.WouldBlock:
                    return
        elif self.scene.socket.endpoints and self.scene.socket.endpoints[0].bound:
            self.peer.connect(self.case.address)
        else:
            self.peer.bind(self.case.address)

    def carry(self) -> None:
        """What two links and the network would do, in no time."""
        [remote] = self.peer._remotes
        items = remote.outbox.hold(1000)
        remote.outbox.taken()
        for mine in list(self.scene.socket._remotes):
            mine.inbox.put_many([item.item if isinstance(item, Shared) else item for item in items])

    # What is wrong with it

    def complaints(self) -> list[str]:
        where = "inside" if self.inside else "outside"
        what = f"{self.case.id} {where}: {', then '.join(self.events)}"
        wanted = expected(self.case, self.events, inside=self.inside)
        found = [f"{what}: {self.outcome}, expected {wanted}"] if self.outcome not in wanted else []
        if self.outcome == GOT and self.scene.arrive is not None and self.caller.result is not None:
            # A Stream is told of the loss by an empty frame.
            right = ([MINE], [b""]) if "lost" in self.events or "crash" in self.events else ([MINE],)
            if self.caller.result[-1:] not in right and not isinstance(self.caller.result[0], trimq.Socket):
                found.append(f"{what}: got {self.caller.result}")
        if self.outcome != GOT and MINE in self.scene.got:
            found.append(f"{what}: sent, though it raised")
        left = leaves(self.events)
        if self.raised is not None and "error" in self.events and "crash" not in self.events:
            if self.left is not self.raised:
                found.append(f"{what}: {self.left!r} left, and not the body's {self.raised!r}")
        elif len(left) == 2:
            assert self.raised is not None
            group = self.left.exceptions if isinstance(self.left, BaseExceptionGroup) else ()
            if [type(error) for error in group[1:]] != [Bug] or group[0] is not self.raised:
                found.append(f"{what}: {self.left!r} left, expected a group of both")
        elif type(self.left) is not (left[0] if left else type(None)):
            found.append(f"{what}: {self.left!r} left, expected {left}")
        return found


def histories(case: Case, *, inside: bool) -> list[tuple[str, ...]]:
    """Every event, and every ordered pair of them that can be."""
    events = [event for event in EVENTS if not (inside and event in ("leave", "interrupt"))]
    pairs = [
        pair
        for pair in itertools.permutations(events, 2)
        if pair[0] not in LAST
        and set(pair) not in EXCLUSIVE
        and not (case.inproc and pair == ("lost", "message"))  # the peer is gone
    ]
    return [*((event,) for event in events), *pairs]


CASES = [
    Case(name, make, address)
    for name, make in {**RECEIVE, **SEND, **LEVEL, **STEPS}.items()
    for transport, address in ADDRESSES.items()
    if not (transport == "inproc" and "Stream" in name)
]


async def check(case: Case, inside: bool, *, crash: bool) -> None:
    wrong: list[str] = []
    for events in histories(case, inside=inside):
        if ("crash" in events) is crash:
            trial = Trial(case, events, inside=inside)
            with trio.move_on_after(100 * LONG) as patience:
                await trial.run()
            wrong += ["hangs: " + str(events)] if patience.cancelled_caught else trial.complaints()
    assert not wrong, "\n".join(wrong)


where = pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


@where
@every_case
async def test_every_end(case: Case, inside: bool, autojump_clock: MockClock) -> None:
    """Promises 1, 2 and 4: ETERM, Cancelled, SocketClosed or the message, as they say; no hang, and nothing else."""
    await check(case, inside, crash=False)


@where
@every_case
async def test_a_crash(case: Case, inside: bool, autojump_clock: MockClock) -> None:
    """Promises 2 and 4: the crash of a service is the end of the context, alone and beside every other event."""
    await check(case, inside, crash=True)
