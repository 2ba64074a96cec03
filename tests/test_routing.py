"""Routing strategies without sockets: the orders of libzmq.md 1.3, step by step."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from operator import length_hint

import pytest

import trimq
from trimq._message import Body, Shared
from trimq._pace import Ahead, Credit, Pace
from trimq._pipe import Pipe
from trimq._remote import Remote
from trimq._routing import ByIdentity, FairQueue, FanOut, RoundRobin


class Peers:
    """Remotes by name, wired to a strategy as a socket does it."""

    def __init__(self, hwm: float = math.inf) -> None:
        self.hwm = hwm
        self.by_name: dict[str, Remote] = {}

    def __getitem__(self, name: str) -> Remote:
        if name not in self.by_name:
            self.by_name[name] = Remote(Pipe(self.hwm), Pipe(self.hwm), dialled=True)
        return self.by_name[name]

    def name(self, remote: Remote | None) -> str:
        return next((name for name, known in self.by_name.items() if known is remote), "-")

    def sending(self, names: str) -> RoundRobin:
        balancer = RoundRobin()
        for name in names:
            remote = self[name]
            remote.outbox.on_writable = lambda remote=remote: balancer.activate(remote)
            balancer.add(remote)
        return balancer

    def receiving(self, names: str) -> FairQueue:
        fair = FairQueue()
        for name in names:
            remote = self[name]
            remote.inbox.on_readable = lambda remote=remote: fair.activate(remote)
            remote.inbox.reader_waits = True
        return fair

    def sends(self, balancer: RoundRobin, times: int) -> str:
        return "".join(self.name(balancer.send(b"m")) for _ in range(times))

    def reads(self, name: str, count: int) -> None:
        """The peer takes messages out of its queue."""
        outbox = self[name].outbox
        outbox.hold(count)
        outbox.taken()

    def puts(self, names: str) -> None:
        for name in names:
            self[name].inbox.put(name.encode())

    @staticmethod
    def takes(fair: FairQueue, times: int) -> str:
        return "".join("-" if (item := fair.take()) is None else bytes(item).decode() for _ in range(times))


# Round robin (lb)


def test_round_robin_is_in_order_of_joining() -> None:
    """Active list in attach order; the cursor advances after each message."""
    peers = Peers()
    balancer = peers.sending("abc")
    assert peers.sends(balancer, 7) == "abcabca"


def test_nobody() -> None:
    """No active pipe: no room."""
    balancer = RoundRobin()
    assert balancer.room() == 0
    assert balancer.send(b"m") is None
    assert not balancer.offer(b"m")
    assert balancer.room() == 0


def test_who_joins_comes_at_the_end() -> None:
    """A new pipe is appended at the end; the cursor stays where it is."""
    peers = Peers()
    balancer = peers.sending("ab")
    assert peers.sends(balancer, 1) == "a"
    balancer.add(peers["c"])
    assert peers.sends(balancer, 4) == "bcab"


def test_who_leaves_gives_its_place_to_the_last() -> None:
    """The list closes its gap with its last (libzmq's array swap), and the cursor stays at its place."""
    peers = Peers()
    balancer = peers.sending("abcd")
    assert peers.sends(balancer, 1) == "a"
    balancer.remove(peers["b"])
    assert peers.sends(balancer, 4) == "dcad"


def test_the_last_leaves_at_its_turn() -> None:
    """A cursor behind the end goes back to the first."""
    peers = Peers()
    balancer = peers.sending("abc")
    assert peers.sends(balancer, 2) == "ab"
    balancer.remove(peers["c"])
    assert peers.sends(balancer, 3) == "aba"


def test_leaving_twice_and_unknown() -> None:
    """Idempotent."""
    peers = Peers()
    balancer = peers.sending("ab")
    balancer.remove(peers["a"])
    balancer.remove(peers["a"])
    balancer.remove(peers["x"])
    assert peers.sends(balancer, 2) == "bb"
    balancer.remove(peers["b"])
    assert balancer.room() == 0
    assert balancer.send(b"m") is None


def test_a_full_peer_is_passed_over() -> None:
    """A pipe that cannot accept is swapped with the last active one; nothing is lost, nothing waits for it."""
    peers = Peers(hwm=2)
    balancer = peers.sending("abc")
    peers["b"].outbox.hwm = 1
    assert peers.sends(balancer, 6) == "abcac-"
    assert balancer.room() == 0


def test_a_full_peer_joins_at_the_end_when_it_has_room() -> None:
    """Re-appended at the end of the active part when writable again."""
    peers = Peers(hwm=4)
    balancer = peers.sending("abc")
    peers["a"].outbox.hwm = 1
    # a is found full at its second turn: c takes its place
    assert peers.sends(balancer, 4) == "abcc"
    peers.reads("a", 1)
    assert peers.sends(balancer, 3) == "bac"


def test_a_full_peer_opens_when_half_is_read() -> None:
    """A full queue only opens after lwm = (hwm + 1) / 2 reads (libzmq.md 5.2)."""
    for hwm in range(1, 12):
        peers = Peers(hwm=hwm)
        balancer = peers.sending("a")
        assert peers.sends(balancer, hwm + 1) == "a" * hwm + "-"
        for _ in range((hwm + 1) // 2 - 1):
            peers.reads("a", 1)
            assert balancer.room() == 0
        peers.reads("a", 1)
        assert balancer.room() == (hwm + 1) // 2
        assert peers.sends(balancer, hwm) == "a" * ((hwm + 1) // 2) + "-" * (hwm // 2)


def test_what_is_held_counts_as_queued() -> None:
    """The batch that a link is writing counts until it is written (design 4)."""
    peers = Peers(hwm=2)
    balancer = peers.sending("a")
    assert peers.sends(balancer, 2) == "aa"
    peers["a"].outbox.hold(2)
    assert balancer.room() == 0
    assert not balancer.offer(b"m")
    peers["a"].outbox.taken()
    assert balancer.room() == 2


def test_who_left_is_not_activated() -> None:
    """Room with a peer that is gone is no room."""
    peers = Peers(hwm=1)
    balancer = peers.sending("ab")
    assert peers.sends(balancer, 3) == "ab-"
    balancer.remove(peers["a"])
    peers.reads("a", 1)
    assert balancer.room() == 0
    peers.reads("b", 1)
    assert peers.sends(balancer, 2) == "b-"


def test_activated_once() -> None:
    """Being told twice of the same room gives nobody two turns."""
    peers = Peers()
    balancer = peers.sending("ab")
    balancer.activate(peers["a"])
    assert peers.sends(balancer, 4) == "abab"


@pytest.mark.parametrize("seed", range(20))
def test_offer_is_send(seed: int) -> None:
    """The hot path chooses as the plain one does, whatever joins, leaves and fills up."""
    chance = random.Random(seed)
    one, other = Peers(hwm=3), Peers(hwm=3)
    sender, offerer = one.sending("ab"), other.sending("ab")
    before = dict.fromkeys("abcde", 0)
    for _ in range(300):
        name = chance.choice("abcde")
        match chance.choice(["send", "send", "send", "add", "remove", "read"]):
            case "send":
                chosen = sender.send(b"m")
                assert offerer.offer(b"m") is (chosen is not None)
            case "add" if one[name] not in sender._remotes:
                for peers, balancer in ((one, sender), (other, offerer)):
                    peers[name].outbox.on_writable = lambda b=balancer, r=peers[name]: b.activate(r)
                    balancer.add(peers[name])
            case "remove":
                sender.remove(one[name])
                offerer.remove(other[name])
            case "read":
                one.reads(name, 1)
                other.reads(name, 1)
        assert [len(one[n].outbox) for n in before] == [len(other[n].outbox) for n in before]
        assert sender.room() == offerer.room()


def test_offer_many() -> None:
    """In turn among several, and no more than the limit is taken from the iterator."""
    for names in ("a", "abc"):
        peers = Peers(hwm=10)
        balancer = peers.sending(names)
        values = iter([b"%d" % n for n in range(9)])
        assert balancer.offer_many(values, 6) == 6
        assert next(values) == b"6"
        queued = {name: [bytes(item) for item in peers[name].outbox.queue] for name in names}
        expected = {name: [b"%d" % n for n in range(i, 6, len(names))] for i, name in enumerate(names)}
        assert queued == expected
        assert balancer.offer_many(values, 6) == 2


@pytest.mark.parametrize("names", ["a", "ab"])
def test_offer_many_keeps_what_came_before_a_mistake(names: str) -> None:
    """What was taken from the iterator is queued (promise 1)."""
    peers = Peers()
    balancer = peers.sending(names)

    def values() -> Iterator[Body]:
        yield b"1"
        yield b"2"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        balancer.offer_many(values(), 100)
    assert sum(len(peers[name].outbox) for name in names) == 2


def test_offer_many_counts_what_it_took_though_the_iterator_reads_the_queue() -> None:
    """An iterator may read what was sent before (inproc): the count is of what was taken, not of what is left."""
    peers = Peers()
    balancer = peers.sending("a")
    queue = peers["a"].outbox.queue

    def values() -> Iterator[Body]:
        for n in range(10):
            yield b"%d" % n
            queue.clear()

    assert balancer.offer_many(values(), 8) == 8


def test_offer_many_wakes_the_reader_once() -> None:
    """One wake per batch, not one per message (design 5)."""
    peers = Peers()
    balancer = peers.sending("a")
    outbox, calls = peers["a"].outbox, []
    outbox.on_readable = lambda: calls.append(len(outbox))
    outbox.reader_waits = True
    assert balancer.offer_many(iter([b"1", b"2", b"3"]), 10) == 3
    assert calls == [3]
    outbox.reader_waits = True
    assert balancer.offer_many(iter([]), 10) == 0  # with what was there before: the reader should not sleep on it
    outbox.queue.clear()
    outbox.reader_waits = True
    calls.clear()
    assert balancer.offer_many(iter([]), 10) == 0
    assert calls == []


# Fair queue (fq)


def test_fair_queue_takes_one_of_each_in_turn() -> None:
    """One message per pipe in turn, in the order in which they have something."""
    peers = Peers()
    fair = peers.receiving("abc")
    peers.puts("aaabbc")
    assert peers.takes(fair, 7) == "abcaba-"


def test_an_empty_peer_leaves_and_joins_at_the_end() -> None:
    """Empty pipes are deactivated and re-appended on activation."""
    peers = Peers()
    fair = peers.receiving("abc")
    peers.puts("abbcc")
    assert peers.takes(fair, 3) == "abc"
    # a is found empty: c takes its place, and a comes back behind b
    assert peers.takes(fair, 1) == "c"
    peers.puts("aa")
    assert peers.takes(fair, 4) == "baa-"


def test_ready_takes_nothing() -> None:
    """A level; it may pass over who has nothing, but not over who has."""
    peers = Peers()
    fair = peers.receiving("ab")
    assert not fair.ready()
    peers.puts("ab")
    assert fair.ready()
    assert fair.ready()
    assert peers.takes(fair, 2) == "ab"
    assert not fair.ready()
    assert peers.takes(fair, 1) == "-"
    peers.puts("b")
    assert fair.ready()


def test_source() -> None:
    """Whom the last message came from."""
    peers = Peers()
    fair = peers.receiving("ab")
    peers.puts("ab")
    fair.take()
    assert fair.source is peers["a"]
    fair.take()
    assert fair.source is peers["b"]
    assert fair.take() is None


def test_sources() -> None:
    """Those from whom something may wait, gone or not."""
    peers = Peers()
    fair = peers.receiving("abc")
    peers.puts("ca")
    assert [peers.name(remote) for remote in fair.sources()] == ["c", "a"]


def test_taking_gives_room() -> None:
    """A writer that waits is called when its pipe is at most half full (libzmq.md 5.2)."""
    for many in (False, True):
        peers = Peers(hwm=4)
        fair = peers.receiving("a")
        inbox, calls = peers["a"].inbox, []
        inbox.on_writable = lambda: calls.append(len(inbox))  # noqa: B023
        peers.puts("aaaa")
        inbox.writer_waits = True
        if many:
            assert len(fair.take_many(1)) == 1
            assert calls == []
            assert len(fair.take_many(9)) == 3
            assert calls == [0]
        else:
            assert peers.takes(fair, 1) == "a"
            assert calls == []
            assert peers.takes(fair, 1) == "a"
            assert calls == [2]


@pytest.mark.parametrize("names", ["a", "abc"])
def test_take_many_is_take(names: str) -> None:
    """In the same order, no more than the limit, and then what is left."""
    peers = Peers()
    fair = peers.receiving(names)
    peers.puts("a" * 5 + names[1:] * 2)
    other = Peers()
    single = other.receiving(names)
    other.puts("a" * 5 + names[1:] * 2)
    assert b"".join(map(bytes, fair.take_many(3))).decode() == other.takes(single, 3)
    assert b"".join(map(bytes, fair.take_many(100))).decode() == other.takes(single, 100).rstrip("-")
    assert fair.take_many(1) == []
    peers.puts("a")
    assert fair.take_many(1) == [b"a"]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_or_out_of_order(seed: int) -> None:
    """Whatever is mixed: each peer's messages come once and in its order; and an activation is never missed."""
    chance = random.Random(seed)
    peers = Peers()
    fair = peers.receiving("abcd")
    put: dict[str, list[bytes]] = {name: [] for name in "abcd"}
    got: dict[str, list[bytes]] = {name: [] for name in "abcd"}
    waiting = 0
    for n in range(500):
        name = chance.choice("abcd")
        match chance.choice(["put", "put", "take", "many", "ready"]):
            case "put":
                message = f"{name}{n}".encode()
                peers[name].inbox.put(message)
                put[name].append(message)
                waiting += 1
            case "ready":
                assert fair.ready() is (waiting > 0)
            case how:
                items = fair.take_many(chance.randrange(1, 5)) if how == "many" else [fair.take()]
                for item in items:
                    if item is not None:
                        got[chr(bytes(item)[0])].append(bytes(item))
                        waiting -= 1
                if items == [None] or items == []:
                    assert waiting == 0
    for item in fair.take_many(1000):
        got[chr(bytes(item)[0])].append(bytes(item))
    assert got == put


# Loans


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Ahead:
    """What would lend as much as it is asked for."""
    pace = Pace()
    pace.ahead = 1.0
    monkeypatch.setattr(Ahead, "most", lambda self, possible: int(min(possible, 7)))
    return Ahead(pace)


def offer(balancer: RoundRobin, credit: Credit, item: bytes) -> bool:
    """As a socket does it: the short way where there is one."""
    assert credit.puts is not None
    put = next(credit.puts, None)
    if put is None:
        return balancer.offer(item)
    put(item)
    return True


def take(fair: FairQueue, credit: Credit) -> Body | None:
    assert credit.takes is not None
    taken = next(credit.takes, None)
    return fair.take() if taken is None else taken()


@pytest.mark.parametrize("seed", range(20))
def test_lent_puts_change_nothing(ahead: Ahead, seed: int) -> None:
    """Who gets what, and when it is called, is the same with loans, whatever joins, leaves, waits and fills up."""
    chance = random.Random(seed)
    one, other, credit = Peers(hwm=70), Peers(hwm=70), Pace().credit()
    plain, lending = one.sending("a"), other.sending("a")
    lending.lend_to(credit, ahead)
    called: dict[Peers, list[str]] = {one: [], other: []}
    wires = ((one, plain), (other, lending))
    lent = 0
    for peers, balancer in wires:
        for name in "abc":
            remote = peers[name]
            remote.outbox.lent_puts = balancer.recall
            remote.outbox.on_writable = lambda b=balancer, r=remote: b.activate(r)
            remote.outbox.on_readable = lambda p=peers, n=name: called[p].append(n)
    for _ in range(600):
        name = chance.choice("aaaabc")
        match chance.choice(["send"] * 12 + ["add", "remove", "read", "ask", "room"]):
            case "send":
                lent += length_hint(credit.puts or ()) > 0
                assert offer(lending, credit, b"m") is plain.offer(b"m")
            case "add" if one[name] not in plain._remotes:
                for peers, balancer in wires:
                    balancer.add(peers[name])
            case "remove" if name != "a":
                for peers, balancer in wires:
                    balancer.remove(peers[name])
            case "read":
                count = chance.randrange(60)
                for peers, _balancer in wires:
                    peers.reads(name, count)
            case "ask":
                for peers, _balancer in wires:
                    peers[name].outbox.ask()
            case "room":
                assert plain.room() == lending.room()
        assert [len(one[n].outbox) for n in "abc"] == [len(other[n].outbox) for n in "abc"]
        assert called[one] == called[other]
    assert lent > 20


@pytest.mark.parametrize("seed", range(20))
def test_lent_takes_change_nothing(ahead: Ahead, seed: int) -> None:
    """Who is heard when, what is counted as passed, and who is told of room, is the same with loans."""
    chance = random.Random(seed)
    one, other, credit = Peers(hwm=70), Peers(hwm=70), Pace().credit()
    plain, lending = one.receiving("abc"), other.receiving("abc")
    lending.lend_to(credit, ahead)
    told: dict[Peers, list[str]] = {one: [], other: []}
    for peers, fair in ((one, plain), (other, lending)):
        for name in "abc":
            peers[name].inbox.lent_takes = fair.recall
            peers[name].inbox.on_writable = lambda p=peers, n=name: told[p].append(n)
    lent = 0
    for _ in range(600):
        name = chance.choice("aaaaaabc")
        match chance.choice(["put", "put", *["take"] * 12, "many", "wait", "ready", "passed"]):
            case "put":
                for _count in range(chance.randrange(30 if name == "a" else 3)):
                    for peers in (one, other):
                        if len(peers[name].inbox) < 70:
                            peers[name].inbox.put(name.encode())
            case "take":
                lent += length_hint(credit.takes or ()) > 0
                assert take(lending, credit) == plain.take()
                assert other.name(lending.source) == one.name(plain.source)
            case "many":
                limit = chance.randrange(1, 9)
                assert lending.take_many(limit) == plain.take_many(limit)
            case "ready":
                assert lending.ready() is plain.ready()
            case "wait":  # who writes waits once it is full
                for peers in (one, other):
                    peers[name].inbox.writer_waits |= len(peers[name].inbox) == 70
            case "passed":
                lending.recall()
                assert [one[n].inbox.passed for n in "abc"] == [other[n].inbox.passed for n in "abc"]
        assert [len(one[n].inbox) for n in "abc"] == [len(other[n].inbox) for n in "abc"]
        assert told[one] == told[other]
    assert lent > 20


def test_no_loans_where_each_message_counts(ahead: Ahead) -> None:
    """Nothing is lent of small queues, of the last room, or where the reader waits to be called."""
    for hwm, queued, reader_waits in ((63, 0, False), (100, 96, False), (100, 0, True)):
        peers, credit = Peers(hwm=hwm), Pace().credit()
        balancer = peers.sending("a")
        balancer.lend_to(credit, ahead)
        outbox = peers["a"].outbox
        outbox.put_many([b"m"] * queued)
        outbox.on_readable = outbox.ask  # it goes on waiting
        if reader_waits:
            outbox.ask()
        assert balancer.offer(b"m")
        assert not length_hint(credit.puts or ())


def test_how_many_calls_go_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loans are short at first, and end by the slice's end and with what is slow; who must always yield has none."""
    now, pace = 1000.0, Pace()
    monkeypatch.setattr(trimq._pace, "perf_counter", lambda: now)
    pace._renew()
    ahead = Ahead(pace)
    given = []
    for _ in range(5):
        given.append(ahead.most(math.inf))
        now += 1e-6 * max(given[-1], 1)
    assert given == [0, 4, 16, 32, 32]
    now = pace.slice.due - 10e-6
    assert ahead.most(math.inf) <= 10  # no longer than the slice is
    pace._renew()
    assert ahead.most(2) == 0
    now += 50e-6  # what was done after that one call
    assert ahead.most(math.inf) == 0
    now = pace.slice.due + 1
    assert ahead.most(math.inf) == 0
    strict = Ahead(Pace(strict=True))
    assert [strict.most(math.inf) for _ in range(3)] == [0, 0, 0]


# Fan-out, which libzmq calls dist


def test_fan_out_shares_one_encoding() -> None:
    """Many get one Shared; a single peer gets the message itself."""
    peers = Peers()
    FanOut.send([b"a", b"b"], [peers["a"], peers["b"]], many=True)
    [first], [second] = peers["a"].outbox.queue, peers["b"].outbox.queue
    assert isinstance(first, Shared)
    assert first is second
    FanOut.send(b"m", [peers["c"]], many=False)
    assert list(peers["c"].outbox.queue) == [b"m"]


def test_fan_out_over_inproc_copies_the_list() -> None:
    """The receiver's message is a list of its own."""
    peers = Peers()
    message: list[bytes] = [b"a", b"b"]
    for name in "ab":
        peers[name].partner = peers[name.upper()]
    FanOut.send(message, [peers["a"], peers["b"]], many=True)
    [first], [second] = peers["a"].outbox.queue, peers["b"].outbox.queue
    assert first == second == message
    assert len({id(first), id(second), id(message)}) == 3


def test_fan_out_drops_where_it_is_full() -> None:
    """A full pipe misses the whole message, which is counted; the others get it (promise 6)."""
    peers = Peers(hwm=2)
    peers["a"].outbox.hwm = 1
    both = [peers["a"], peers["b"]]
    for _ in range(3):
        FanOut.send(b"m", both, many=True)
    assert [len(remote.outbox) for remote in both] == [1, 2]
    assert [remote.dropped for remote in both] == [2, 1]


def test_blocked() -> None:
    """All or nobody (XPUB_NODROP): one full pipe blocks, and will call."""
    peers = Peers(hwm=1)
    both = [peers["a"], peers["b"]]
    assert not FanOut.blocked(both)
    FanOut.send(b"m", [peers["b"]], many=False)
    assert FanOut.blocked(both)
    assert (peers["a"].outbox.writer_waits, peers["b"].outbox.writer_waits) == (False, True)


# By identity


def test_made_ids() -> None:
    """A zero byte and a 32-bit counter, which goes round, and passes over ids in use (libzmq.md 1.4, ROUTER)."""
    by_id = ByIdentity(0xFFFFFFFD)
    assert by_id.make_id() == b"\0\xff\xff\xff\xfe"
    assert by_id.make_id() == b"\0\xff\xff\xff\xff"
    remote = Remote(Pipe(1), Pipe(1), dialled=False, routing_id=b"\0\0\0\0\0")
    by_id.add(remote)
    assert by_id.make_id() == b"\0\0\0\0\x01"


def test_who_took_over_an_id_stays() -> None:
    """The former holder's leaving does not take the id away (ROUTER_HANDOVER)."""
    by_id = ByIdentity(0)
    old, new = (Remote(Pipe(1), Pipe(1), dialled=False, routing_id=b"x") for _ in range(2))
    by_id.add(old)
    by_id.add(new)
    by_id.remove(old)
    assert by_id.remotes == {b"x": new}
    by_id.remove(new)
    by_id.remove(new)
    assert by_id.remotes == {}
