"""Prefix matching on both sides (RFC 29; libzmq.md 1.4, PUB/XPUB and SUB/XSUB)."""

from __future__ import annotations

import random

import pytest

from trimq._pipe import Pipe
from trimq._remote import Remote
from trimq._subscriptions import TopicCounter, TopicTable


def peer() -> Remote:
    return Remote(Pipe(1), Pipe(1), dialled=False)


# The publisher's side


def test_match_is_by_prefix() -> None:
    """The first frame starts with the topic; the empty topic matches all."""
    table, a, every = TopicTable(), peer(), peer()
    table.add(b"ab", a)
    assert list(table.match(b"ab")) == [a]
    assert list(table.match(b"abc")) == [a]
    for topic in (b"", b"a", b"b", b"aab", b"AB"):
        assert list(table.match(topic)) == []
    table.add(b"", every)
    assert list(table.match(b"")) == [every]
    assert set(table.match(b"abc")) == {a, every}


def test_one_copy_whatever_matches() -> None:
    """Multiple matching subscriptions of one peer yield one copy."""
    table, a, b = TopicTable(), peer(), peer()
    for topic in (b"", b"a", b"ab", b"abc"):
        table.add(topic, a)
    table.add(b"ab", b)
    assert sorted(map(id, table.match(b"abcd"))) == sorted([id(a), id(b)])


def test_matching_changes_nothing() -> None:
    """What several topics match is put together anew, never in the table itself."""
    table, a, b, c = TopicTable(), peer(), peer(), peer()
    table.add(b"a", a)
    table.add(b"ab", b)
    table.add(b"abc", c)
    for _ in range(2):
        assert list(table.match(b"abcd")) == [a, b, c]
        assert list(table.match(b"abx")) == [a, b]
        assert list(table.match(b"axx")) == [a]


def test_first_and_last() -> None:
    """add says whether it was the first; remove whether nobody has the topic any more, nor had it before ([src] 1.4)."""
    table, a, b = TopicTable(), peer(), peer()
    assert table.add(b"t", a)
    assert not table.add(b"t", a)  # a set of peers per topic: subscribing twice is subscribing once
    assert not table.add(b"t", b)
    assert not table.remove(b"t", a)
    assert not table.remove(b"t", a)  # others remain
    assert table.remove(b"t", b)
    assert table.remove(b"t", b)
    assert table.remove(b"never", a)
    assert list(table.match(b"t")) == []


def test_what_a_peer_has() -> None:
    """remote.topics is what the table knows of the peer."""
    table, a = TopicTable(), peer()
    table.add(b"x", a)
    table.add(b"y", a)
    table.add(b"y", a)
    assert a.topics == {b"x", b"y"}
    table.remove(b"y", a)
    assert a.topics == {b"x"}


def test_nothing_is_left_behind() -> None:
    """A topic that nobody has takes no memory and no time."""
    table, a = TopicTable(), peer()
    for topic in (b"", b"a", b"b", b"ccc"):
        table.add(topic, a)
    for topic in (b"a", b"", b"ccc", b"b"):
        table.remove(topic, a)
    assert table._by_topic == {}
    assert table._search._sorted == []
    assert table._search._new == []
    assert table._found == {}


# The subscriber's side


def test_counts() -> None:
    """Each subscription must be taken back; only the first and the last are news (multiset)."""
    counter = TopicCounter()
    assert counter.add(b"t")
    assert not counter.add(b"t")
    assert not counter.remove(b"t")
    assert counter.remove(b"t")
    assert not counter.remove(b"t")
    assert not counter.remove(b"never")
    assert list(counter) == []
    assert counter.add(b"t")
    assert list(counter) == [b"t"]


def test_wants() -> None:
    """By the first frame alone, and by prefix."""
    counter = TopicCounter()
    assert not counter.wants(b"")
    counter.add(b"ab")
    assert counter.wants(b"ab")
    assert counter.wants([b"abc", b"x"])
    assert not counter.wants([b"x", b"ab"])
    assert not counter.wants(b"a")
    counter.add(b"")
    assert counter.wants(b"")
    assert counter.wants([b"anything"])


@pytest.mark.parametrize("number", [3, 12, 60, 300])
@pytest.mark.parametrize("seed", range(10))
def test_against_the_definition(seed: int, number: int) -> None:
    """Both sides agree with a naive reading of the definition, after any history, with few topics and with many."""
    chance = random.Random(seed)
    topics = [bytes(chance.choices(b"ab", k=chance.randrange(1 + number.bit_length()))) for _ in range(number)]
    table, counter = TopicTable(), TopicCounter()
    peers = [peer() for _ in range(3)]
    have: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    for _ in range(300 + 2 * number):
        who, topic = chance.randrange(3), chance.choice(topics)
        if chance.random() < 0.5:
            others = any(topic in have[other] for other in have)
            assert table.add(topic, peers[who]) is not others
            if who == 0:
                assert counter.add(topic) is (topic not in have[0])
            have[who].append(topic)
        elif who == 0:
            mine = have[0].count(topic)
            assert counter.remove(topic) is (mine == 1)
            if mine:
                have[0].remove(topic)
            if mine == 1:
                table.remove(topic, peers[0])
        else:
            have[who] = [known for known in have[who] if known != topic]
            gone = not any(topic in have[other] for other in have)
            assert table.remove(topic, peers[who]) is gone
        message = bytes(chance.choices(b"ab", k=chance.randrange(2 + number.bit_length())))
        expected = {peers[n] for n, known in have.items() if any(message.startswith(topic) for topic in known)}
        assert set(table.match(message)) == expected
        assert counter.wants([message, b""]) is (peers[0] in expected)
        batch = [message, b"a", b"b" * 20] if chance.random() < 0.5 else [message, [b"a", b"x"], b"", [b"b", b"a"]]
        assert counter.select(batch) == [item for item in batch if counter.wants(item)]
