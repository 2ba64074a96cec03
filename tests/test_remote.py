"""Remote and its special pipes."""

from __future__ import annotations

from typing import Any

import pytest

from trimq._message import Item
from trimq._pipe import Pipe
from trimq._remote import FilteredPipe, Intake, Remote, discard


def test_a_new_remote() -> None:
    """Unlinked, unattached, with its socket's marks."""
    inbox, outbox = Pipe(2), Pipe(3)
    remote = Remote(inbox, outbox, dialled=True, routing_id=b"x")
    assert (remote.inbox, remote.outbox, remote.dialled, remote.routing_id) == (inbox, outbox, True, b"x")
    assert (remote.info, remote.attached, remote.retired, remote.dropped) == (None, False, False, 0)
    assert (remote.carrier, remote.partner, remote.topics) == (None, None, set())
    assert remote.marks == (3, 2)


def test_remotes_are_not_equal() -> None:
    """Each is somebody: they are keys of sets and dictionaries."""
    one, other = (Remote(Pipe(1), Pipe(1), dialled=False) for _ in range(2))
    assert one != other
    assert len({one, other, one}) == 2


class Filtered:
    """A pipe that wants what begins with w, and how often its sides were called."""

    def __init__(self, hwm: float = 4) -> None:
        self.letter = b"w"
        self.pipe = FilteredPipe(hwm, self.wants, lambda items: [item for item in items if self.wants(item)])
        self.readable = self.writable = 0
        self.pipe.on_readable = self.on_readable
        self.pipe.on_writable = self.on_writable
        self.pipe.reader_waits = self.pipe.writer_waits = True

    def wants(self, item: Any) -> bool:
        return bytes(item).startswith(self.letter)

    def on_readable(self) -> None:
        self.readable += 1

    def on_writable(self) -> None:
        self.writable += 1


@pytest.mark.parametrize("door", ["put", "put_first", "put_many"])
def test_a_filtered_pipe_has_only_what_is_wanted(door: str) -> None:
    """Through whichever door it comes; the reader is not called for nothing (SUB's local filter, libzmq.md 1.4)."""
    filtered = Filtered()

    def give(item: Item) -> None:
        getattr(filtered.pipe, door)([item] if door == "put_many" else item)

    give(b"x")
    assert (len(filtered.pipe), filtered.readable) == (0, 0)
    give(b"w")
    assert (list(filtered.pipe.queue), filtered.readable) == ([b"w"], 1)


def test_what_is_filtered_takes_no_room() -> None:
    """Messages for others do not fill the high-water mark."""
    filtered = Filtered(hwm=2)
    filtered.pipe.put_many([b"x", b"w1", b"y", b"w2"])
    assert list(filtered.pipe.queue) == [b"w1", b"w2"]
    assert filtered.pipe.room == 0


def test_refilter() -> None:
    """What is no longer wanted goes, in order; room is told if it came of it."""
    filtered = Filtered(hwm=4)
    filtered.pipe.put_many([b"w1", b"wx2", b"w3", b"wx4"])
    filtered.letter = b"w"
    filtered.pipe.refilter()
    assert (len(filtered.pipe), filtered.writable) == (4, 0)
    filtered.letter = b"wx"
    filtered.pipe.refilter()
    assert (list(filtered.pipe.queue), filtered.writable) == ([b"wx2", b"wx4"], 1)
    filtered.letter = b"none"
    filtered.pipe.refilter()
    assert (len(filtered.pipe), filtered.writable) == (0, 1)


@pytest.mark.parametrize("door", ["put", "put_first", "put_many"])
def test_an_intake_holds_nothing(door: str) -> None:
    """Each item is dealt with as it comes, in order; there is always room."""
    seen: list[Any] = []
    intake = Intake(seen.append)
    for item in (b"1", [b"2", b"3"]):
        getattr(intake, door)([item] if door == "put_many" else item)
    assert seen == [b"1", [b"2", b"3"]]
    assert len(intake) == 0
    assert intake.room > 1000


def test_an_intake_raises_for_its_writer() -> None:
    """What the handler refuses is the link's business (a peer's flood of subscriptions)."""

    def refuse(item: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Intake(refuse).put_many([b""])


def test_discard() -> None:
    """RFC 30: a PUSH discards what it receives."""
    intake = Intake(discard)
    intake.put(b"x")
    assert len(intake) == 0
