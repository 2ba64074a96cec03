"""Routing strategies against libzmq's own arrays, played with lists (libzmq.md 1.3).

The models keep what libzmq keeps: all pipes in one array, of which the first ``active`` take part, and who leaves that part
swaps its place with the last of it. trimq keeps only the active part; orders must be the same, message by message.
"""

from __future__ import annotations

import math
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from trimq._message import Shared
from trimq._pipe import Pipe
from trimq._remote import Remote
from trimq._routing import UNLIMITED, ByIdentity, FairQueue, FanOut, RoundRobin

marks = st.sampled_from([1, 2, 3, 5, 8, math.inf])


class Queue:
    """A pipe as the models see it: what waits, and whether whoever found it full (or empty) is to be called."""

    def __init__(self, hwm: float) -> None:
        self.hwm = hwm
        self.waiting: list[Any] = []
        self.called_for = False

    @property
    def full(self) -> bool:
        return len(self.waiting) >= self.hwm


class Array:
    """libzmq's array of pipes with its active part and its cursor."""

    def __init__(self) -> None:
        self.pipes: list[int] = []
        self.active = 0
        self.current = 0

    def swap(self, one: int, other: int) -> None:
        self.pipes[one], self.pipes[other] = self.pipes[other], self.pipes[one]

    def activate(self, pipe: int) -> None:
        self.swap(self.pipes.index(pipe), self.active)
        self.active += 1

    def attach(self, pipe: int) -> None:
        self.pipes.append(pipe)
        self.activate(pipe)

    def rest(self) -> None:
        """The pipe at the cursor has no room, or no message."""
        self.active -= 1
        self.swap(self.current, self.active)
        if self.current == self.active:
            self.current = 0

    def terminated(self, pipe: int) -> None:
        index = self.pipes.index(pipe)
        if index < self.active:
            self.active -= 1
            self.swap(index, self.active)
            if self.current == self.active:
                self.current = 0
        self.pipes.remove(pipe)

    def advance(self) -> None:
        self.current = (self.current + 1) % self.active


class RoundRobinMachine(RuleBasedStateMachine):
    """`RoundRobin` beside libzmq's load balancer."""

    peers = Bundle("peers")
    gone = Bundle("gone")

    def __init__(self) -> None:
        super().__init__()
        self.balancer = RoundRobin()
        self.array = Array()
        self.remotes: list[Remote] = []
        self.queues: list[Queue] = []
        self.count = 0

    def message(self) -> Any:
        self.count += 1
        return b"%d" % self.count if self.count % 3 else [b"%d" % self.count, b""]

    def model_send(self, item: Any) -> int | None:
        array = self.array
        while array.active:
            queue = self.queues[array.pipes[array.current]]
            if not queue.full:
                queue.waiting.append(item)
                sent_to = array.pipes[array.current]
                array.advance()
                return sent_to
            queue.called_for = True
            array.rest()
        return None

    @rule(target=peers, hwm=marks)
    def add(self, hwm: float) -> int:
        """A peer joins."""
        number = len(self.remotes)
        remote = Remote(Pipe(1), Pipe(hwm), dialled=True)
        remote.outbox.reader_waits = True
        remote.outbox.on_writable = lambda: self.balancer.activate(remote)
        self.remotes.append(remote)
        self.queues.append(Queue(hwm))
        self.balancer.add(remote)
        self.array.attach(number)
        return number

    @rule(target=gone, peer=consumes(peers))
    def remove(self, peer: int) -> int:
        """A peer leaves; what is queued for it may still be written."""
        self.balancer.remove(self.remotes[peer])
        self.array.terminated(peer)
        return peer

    @rule(peer=peers, times=st.integers(1, 4))
    def read(self, peer: int, times: int) -> None:
        """A peer's link takes a batch out, and has written it a little later; half empty, the peer is active again."""
        outbox, queue = self.remotes[peer].outbox, self.queues[peer]
        batch = outbox.hold(times)
        assert batch == queue.waiting[:times]
        assert len(outbox) == len(queue.waiting)  # what is held counts
        outbox.taken()
        outbox.reader_waits = not outbox.queue
        del queue.waiting[:times]
        if queue.called_for and 2 * len(queue.waiting) <= queue.hwm:
            queue.called_for = False
            if peer in self.array.pipes:
                self.array.activate(peer)

    @rule(peer=gone, times=st.integers(1, 4))
    def read_late(self, peer: int, times: int) -> None:
        """The same of a peer that has left: it does not come back for it."""
        self.read(peer, times)

    @rule(how=st.sampled_from(["send", "offer"]), times=st.integers(1, 4))
    def send(self, how: str, times: int) -> None:
        """To whom a message goes, or that nobody has room."""
        for _ in range(times):
            item = self.message()
            expected = self.model_send(item)
            if how == "offer":
                assert self.balancer.offer(item) is (expected is not None)
            else:
                assert self.balancer.send(item) is (None if expected is None else self.remotes[expected])

    @rule(most=st.integers(1, 9), packed=st.booleans())
    def send_many(self, most: int, packed: bool) -> None:
        """As many as there is said to be room for are taken, each by whose turn it is."""
        items = [self.message() for _ in range(min(most, self.check_room()))]
        for item in items:
            assert self.model_send(item) is not None
        if packed:
            if items:
                self.balancer.put_all(items)
        else:
            assert self.balancer.offer_many(iter(items), len(items)) == len(items)

    @rule()
    def room(self) -> None:
        """What `check_room` says."""
        self.check_room()

    def check_room(self) -> int:
        """The next peer's; 0 if and only if a send would be refused."""
        array = self.array
        while array.active and self.queues[array.pipes[array.current]].full:
            self.queues[array.pipes[array.current]].called_for = True
            array.rest()
        room = self.balancer.room()
        if array.active:
            queue = self.queues[array.pipes[array.current]]
            assert room == (UNLIMITED if queue.hwm == math.inf else queue.hwm - len(queue.waiting))
        else:
            assert room == 0
        return room

    @invariant()
    def same(self) -> None:
        """Every queue holds the same messages, those of peers that are gone included."""
        for remote, queue in zip(self.remotes, self.queues, strict=True):
            assert list(remote.outbox.queue) == queue.waiting
            assert len(queue.waiting) <= queue.hwm
            assert not (queue.waiting and remote.outbox.reader_waits)  # its link was called


class FairQueueMachine(RuleBasedStateMachine):
    """`FairQueue` beside libzmq's, whose pipes begin inactive here: a peer joins when it first has something."""

    peers = Bundle("peers")

    def __init__(self) -> None:
        super().__init__()
        self.fair = FairQueue()
        self.array = Array()
        self.remotes: list[Remote] = []
        self.queues: list[Queue] = []
        self.opened: list[int] = []
        self.count = 0

    @rule(target=peers, hwm=marks)
    def add(self, hwm: float) -> int:
        """A peer joins, and has nothing yet."""
        number = len(self.remotes)
        remote = Remote(Pipe(hwm), Pipe(1), dialled=True)
        remote.inbox.on_readable = lambda: self.fair.activate(remote)
        remote.inbox.reader_waits = True
        remote.inbox.on_writable = lambda: self.opened.append(number)
        self.remotes.append(remote)
        queue = Queue(hwm)
        queue.called_for = True
        self.queues.append(queue)
        self.array.pipes.append(number)
        return number

    @rule(peer=peers, count=st.integers(1, 4), at_once=st.booleans())
    def put(self, peer: int, count: int, at_once: bool) -> None:
        """Messages come, one by one or as a batch; a link that finds no room left leaves word."""
        inbox, queue = self.remotes[peer].inbox, self.queues[peer]
        items = [b"%d" % n for n in range(self.count, self.count + count)]
        self.count += count
        if at_once:
            inbox.put_many(items)
        else:
            for item in items:
                inbox.put(item)
        inbox.writer_waits = inbox.writer_waits or inbox.room <= 0
        queue.waiting += items
        if queue.called_for:
            queue.called_for = False
            self.array.activate(peer)

    def model_take(self) -> tuple[int, Any] | None:
        array = self.array
        while array.active:
            peer = array.pipes[array.current]
            queue = self.queues[peer]
            if queue.waiting:
                item = queue.waiting.pop(0)
                array.advance()
                return peer, item
            queue.called_for = True
            array.rest()
        return None

    def check_opened(self) -> None:
        """Who waited for room was called if, and only if, half of the queue is free."""
        for number, remote in enumerate(self.remotes):
            inbox = remote.inbox
            if number in self.opened:
                assert not inbox.writer_waits
            assert not (inbox.writer_waits and 2 * len(inbox) <= inbox.hwm)
        self.opened.clear()

    @rule(times=st.integers(1, 5))
    def take(self, times: int) -> None:
        """Whose turn it is."""
        for _ in range(times):
            expected = self.model_take()
            item = self.fair.take()
            assert item == (None if expected is None else expected[1])
            if expected is not None:
                assert self.fair.source is self.remotes[expected[0]]
        self.check_opened()

    @rule(limit=st.integers(1, 9))
    def take_many(self, limit: int) -> None:
        """The same messages in the same order as one by one; but who is alone is not asked for more than it has."""
        most = limit
        if self.array.active == 1:
            most = min(limit, len(self.queues[self.array.pipes[0]].waiting) or limit)
        batch = self.fair.take_many(limit)
        expected = []
        while len(expected) < most and (one := self.model_take()) is not None:
            expected.append(one[1])
        assert batch == expected
        self.check_opened()

    @rule()
    def ready(self) -> None:
        """Whether anybody has anything; and it takes nothing."""
        assert self.fair.ready() is any(queue.waiting for queue in self.queues)
        array = self.array
        while array.active and not self.queues[array.pipes[array.current]].waiting:
            self.queues[array.pipes[array.current]].called_for = True
            array.rest()

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Who has something is in line (once), or its next message would never be heard."""
        sources = self.fair.sources()
        assert len(sources) == len(set(sources))
        for remote in self.remotes:
            assert not remote.inbox.queue or remote in sources


class FanOutMachine(RuleBasedStateMachine):
    """`FanOut` beside libzmq's distributor: to each of the matching pipes, past those that are full."""

    peers = Bundle("peers")

    def __init__(self) -> None:
        super().__init__()
        self.remotes: list[Remote] = []
        self.queues: list[list[Any]] = []
        self.dropped: list[int] = []
        self.count = 0

    @rule(target=peers, hwm=marks, inproc=st.booleans())
    def add(self, hwm: float, inproc: bool) -> int:
        """A subscriber."""
        remote = Remote(Pipe(1), Pipe(hwm), dialled=False)
        remote.outbox.reader_waits = True
        if inproc:
            remote.partner = Remote(Pipe(1), Pipe(1), dialled=False)
        self.remotes.append(remote)
        self.queues.append([])
        self.dropped.append(0)
        return len(self.remotes) - 1

    @rule(some=st.lists(peers, unique=True), many=st.booleans(), spread=st.booleans(), alone=st.booleans())
    def send(self, some: list[int], many: bool, spread: bool, alone: bool) -> None:
        """One message to some; over inproc a list of its own for each, elsewhere one encoding for many."""
        remotes = [self.remotes[peer] for peer in some]
        full = [peer for peer in some if len(self.queues[peer]) >= self.remotes[peer].outbox.hwm]
        room = FanOut.room(remotes)
        rooms = [self.remotes[peer].outbox.hwm - len(self.queues[peer]) for peer in some]
        assert room == min([UNLIMITED, *rooms])
        assert FanOut.blocked(remotes) is bool(full) is (room <= 0)
        assert [peer for peer in some if self.remotes[peer].outbox.writer_waits] == full
        for peer in full:
            self.remotes[peer].outbox.writer_waits = False
        self.count += 1
        item: Any = b"%d" % self.count if alone else [b"%d" % self.count, b"x"]
        if spread and not full:
            FanOut.spread(item, remotes, many)
        else:
            FanOut.send(item, remotes, many)
        for peer in some:
            if peer in full:
                self.dropped[peer] += 1
            else:
                self.queues[peer].append(item)
        queued = [self.remotes[peer].outbox.queue[-1] for peer in some if peer not in full]
        shared = [one for one in queued if isinstance(one, Shared)]
        assert len(set(map(id, shared))) <= 1
        over_wires = [peer for peer in some if peer not in full and self.remotes[peer].partner is None]
        assert len(shared) == len(over_wires) * many
        if not alone:
            inproc = [
                id(one)
                for peer in some
                if peer not in full and self.remotes[peer].partner is not None
                for one in (self.remotes[peer].outbox.queue[-1],)
            ]
            assert len(set(inproc)) == len(inproc)
            assert id(item) not in inproc

    @rule(peer=peers, times=st.integers(1, 4))
    def read(self, peer: int, times: int) -> None:
        """A subscriber's link takes some."""
        outbox = self.remotes[peer].outbox
        outbox.hold(times)
        outbox.taken()
        outbox.reader_waits = not outbox.queue
        del self.queues[peer][:times]

    @invariant()
    def same(self) -> None:
        """Each has what was sent to it in order, and what it missed is counted (promise 6)."""
        for remote, queue, dropped in zip(self.remotes, self.queues, self.dropped, strict=True):
            assert [one.item if isinstance(one, Shared) else one for one in remote.outbox.queue] == queue
            assert remote.dropped == dropped
            assert not (queue and remote.outbox.reader_waits)  # its link was called


class ByIdentityMachine(RuleBasedStateMachine):
    """`ByIdentity` beside a dictionary."""

    peers = Bundle("peers")

    @initialize(first=st.sampled_from([0, 5, 0xFFFFFFFE, 0xFFFFFFFF]))
    def begin(self, first: int) -> None:
        """Near the counter's end, too."""
        self.table = ByIdentity(first)
        self.known: dict[bytes, Remote] = {}
        self.last = first

    @rule(target=peers, routing_id=st.sampled_from([b"", b"a", b"b", b"\0\0\0\0\0", b"\0\0\0\0\1"]))
    def add(self, routing_id: bytes) -> Remote:
        """Made up if it has none: a zero byte and a 32-bit counter, never one in use. Else it takes over."""
        if not routing_id:
            routing_id = self.table.make_id()
            assert routing_id not in self.known
            assert routing_id[0] == 0
            assert len(routing_id) == 5
            self.last = (self.last + 1) % 2**32
            while b"\0" + self.last.to_bytes(4, "big") in self.known:
                self.last = (self.last + 1) % 2**32
            assert routing_id == b"\0" + self.last.to_bytes(4, "big")
        remote = Remote(Pipe(1), Pipe(1), dialled=False, routing_id=routing_id)
        self.table.add(remote)
        self.known[routing_id] = remote
        return remote

    @rule(remote=peers)
    def remove(self, remote: Remote) -> None:
        """Twice does no harm; who took its id over stays."""
        self.table.remove(remote)
        if self.known.get(remote.routing_id) is remote:
            del self.known[remote.routing_id]

    @invariant()
    @precondition(lambda self: hasattr(self, "table"))
    def same(self) -> None:
        """Who is found by which id."""
        assert self.table.remotes == self.known


quick = settings(max_examples=60, stateful_step_count=40)
TestRoundRobin = RoundRobinMachine.TestCase
TestRoundRobin.settings = quick
TestFairQueue = FairQueueMachine.TestCase
TestFairQueue.settings = quick
TestFanOut = FanOutMachine.TestCase
TestFanOut.settings = settings(max_examples=40, stateful_step_count=30)
TestByIdentity = ByIdentityMachine.TestCase
TestByIdentity.settings = settings(max_examples=40, stateful_step_count=25)
