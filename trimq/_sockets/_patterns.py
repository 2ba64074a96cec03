"""Compositions that several types share: sending round-robin or to whom the message names, fair receiving, routing ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .._limits import Latest, keep_latest
from .._message import Body, pack
from .._options import Option, boolean, choice, identity
from .._pace import Ahead
from .._pipe import Pipe
from .._remote import Intake, Remote
from .._routing import UNLIMITED, ByIdentity, FairQueue, FanOut, RoundRobin
from .._util import Waiter, new_line
from ._flow import Received_co, Receiving, Sending, SendingMany, Sent_contra
from ._socket import Socket

__all__ = ["Addressing", "Balanced", "Balancing", "Conflating", "FairQueued", "Identified"]


class Conflating(Socket):
    """May keep, of each peer's messages, only the latest: Push, Pull, Pub, Sub and Dealer."""

    conflate: Option[bool] = Option(
        False,
        boolean,
        "Whether only the latest message is kept, whole, for and from each peer; those that it replaces are counted as "
        "dropped. Holds for later binds and connects (ZMQ_CONFLATE).",
    )

    def _opened(self, remote: Remote) -> None:
        super()._opened(remote)
        if self.conflate:
            for pipe in (remote.inbox, remote.outbox):
                self._conflate(remote, pipe)

    def _conflate(self, remote: Remote, pipe: Pipe) -> None:
        if not isinstance(pipe, Intake):
            keep_latest(pipe, remote.drop)


class Balancing(Sending[Sent_contra]):
    """Knows whose turn it is to be sent to; a type says what is sent."""

    def _prepare(self) -> None:
        super()._prepare()
        self._balancer = RoundRobin()

    def _joined(self, remote: Remote) -> None:
        super()._joined(remote)
        self._balancer.add(remote)
        self._roomy(remote)

    def _roomy(self, remote: Remote) -> None:
        self._balancer.activate(remote)
        super()._roomy(remote)

    def _left(self, remote: Remote) -> None:
        super()._left(remote)
        self._balancer.remove(remote)


class Balanced(Balancing[Sent_contra], SendingMany[Sent_contra]):
    """Sends round-robin; while no peer has room it waits, or drops, as ``mute`` says."""

    mute: Option[str] = Option(
        "block",
        choice("block", "drop_new", "drop_old"),
        "What ``send`` does while no peer has room: it waits (``block``), drops the message (``drop_new``), or drops the "
        "oldest one that waits for the peer whose turn it is (``drop_old``).",
    )

    _packs: Callable[[Any], Body] = staticmethod(pack)  # what `_pack` does, for many

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        if self._offer in (
            self._balancer.offer,
            self._offer_or_drop,
        ):  # and no type's own, which has to see each message
            self._balancer.lend_to(self._credit, Ahead(self._pace))

    def _prepare(self) -> None:
        super()._prepare()
        self._choose()

    def _hook(self, remote: Remote) -> None:
        super()._hook(remote)
        remote.outbox.lent_puts = self._balancer.recall

    def _choose(self) -> None:
        if self.mute == "block":
            self._offer = self._balancer.offer
            self._room = self._balancer.room
        else:
            self._offer = self._offer_or_drop
            self._room = self._room_or_drop

    def _option_set(self, name: str) -> None:
        if name == "mute" and not self._closed and not self._terminated:
            self._choose()
        super()._option_set(name)

    def _offer_or_drop(self, item: Body) -> bool:
        if not self._balancer.offer(item):
            remote = self._balancer.next_full()
            if remote is None:
                self._unroutable()
            elif self.mute == "drop_new" or not remote.outbox.drop_oldest():
                remote.drop()
            else:
                remote.drop()
                remote.outbox.put(item)
        return True

    @staticmethod
    def _room_or_drop() -> int:
        return UNLIMITED

    def _put_all(self, bodies: list[Body]) -> None:
        if self.mute == "block":
            self._balancer.put_all(bodies)
        else:
            super()._put_all(bodies)

    def _offer_many(self, values: Iterator[Sent_contra], limit: int) -> int:
        if self.mute == "block":
            return self._balancer.offer_many(values, limit, self._packs)
        return super()._offer_many(values, limit)

    def _offer_listed(self, values: Sequence[Sent_contra]) -> int:
        if self.mute == "block" and set(map(type, values)) == {bytes}:
            self._balancer.put_all(values)  # type: ignore[arg-type]
            return len(values)
        return super()._offer_listed(values)


class Identified(Socket):
    """Announces a routing id, and may probe (RFC 28): Req, Dealer and Router."""

    _announces_identity = True

    routing_id: Option[bytes] = Option(
        b"", identity, "The id by which a Router peer knows this socket; empty lets it make one up (ZMQ_ROUTING_ID)."
    )
    probe_router: Option[bool] = Option(
        False, boolean, "Whether to send an empty message first on each new connection (ZMQ_PROBE_ROUTER)."
    )

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        outbox = remote.outbox
        # Where only the latest message is kept, one that waits tells the Router of this peer as well as a probe does.
        if self.probe_router and not (isinstance(outbox.queue, Latest) and outbox.queue):
            outbox.put_first(b"")


class FairQueued(Receiving[Received_co]):
    """Receives from each peer in turn."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        if self._take == self._fair.take:  # and no type's own way of taking, which has to see each message
            self._fair.lend_to(self._credit, Ahead(self._pace))

    def _prepare(self) -> None:
        super()._prepare()
        self._fair = FairQueue()
        self._take = self._fair.take
        self._take_many = self._fair.take_many
        self._receivable = self._fair.ready

    def _hook(self, remote: Remote) -> None:
        super()._hook(remote)
        remote.inbox.lent_takes = self._fair.recall

    def _sources(self) -> Sequence[Remote]:
        return self._fair.sources()

    def _source(self) -> Remote | None:
        return self._fair.source

    def _arrived(self, remote: Remote) -> None:
        self._fair.activate(remote)
        self._serve_receivers()


class _Parted(dict[Waiter, None]):
    """A line of which each peer's part is found at once. Room belongs to one peer: within its part nobody overtakes."""

    def __init__(self, whom: Callable[[Any], Any]) -> None:
        super().__init__()
        self._whom = whom
        self.parts: dict[Any, dict[Waiter, None]] = {}
        self.changed: dict[Any, None] = {}  # for whom there may be room, or a part has another head

    def __setitem__(self, waiter: Waiter, value: None) -> None:
        super().__setitem__(waiter, value)
        self.parts.setdefault(self._whom(waiter.want), new_line())[waiter] = value

    def __delitem__(self, waiter: Waiter) -> None:
        super().__delitem__(waiter)
        whom = self._whom(waiter.want)
        part = self.parts[whom]
        del part[waiter]
        if part:
            self.changed[whom] = None
        else:
            del self.parts[whom]

    def clear(self) -> None:
        """Nobody waits any more."""
        super().clear()
        self.parts.clear()


class Addressing(FairQueued[Received_co], Sending[Sent_contra]):
    """Sends to the peer that the message names, and receives from each in turn. A type says how a message names its peer."""

    _by_id: ByIdentity  # set by the type's `_prepare`

    def _prepare(self) -> None:
        super()._prepare()
        self._senders = self._parted = _Parted(self._whom)

    def _whom(self, item: Any) -> Any:
        """The routing id that the message names; None if it is no message of this type."""
        raise NotImplementedError

    def _behind(self, item: Any) -> bool:
        # Room belongs to one peer: only who waits for the same one is before us.
        return self._whom(item) in self._parted.parts

    def _in_line(self) -> bool:
        return False

    def _serve_senders(self) -> None:
        # Only whom something has changed for: with thousands of peers, nobody looks at all who wait each time.
        senders = self._parted
        while senders.changed:
            whom = next(iter(senders.changed))
            while part := senders.parts.get(whom):
                if not self._serve_sender(next(iter(part))):
                    break
            senders.changed.pop(whom, None)
        self._write_bell.ring()

    def _option_set(self, name: str) -> None:
        self._parted.changed.update(dict.fromkeys(self._parted.parts))
        super()._option_set(name)

    def _roomy(self, remote: Remote) -> None:
        self._parted.changed[remote.routing_id] = None
        super()._roomy(remote)

    def _joined(self, remote: Remote) -> None:
        super()._joined(remote)
        if not remote.routing_id:
            remote.routing_id = self._by_id.make_id()
        self._by_id.add(remote)
        self._roomy(remote)

    def _left(self, remote: Remote) -> None:
        super()._left(remote)
        self._by_id.remove(remote)
        self._roomy(remote)  # who waits for it is told that it is gone

    @staticmethod
    def _put(remote: Remote, item: Body) -> bool:
        """Queues a message for its peer; False if there is no room, and then it will be told."""
        outbox = remote.outbox
        if len(outbox.queue) + outbox.held >= outbox.hwm:
            outbox.writer_waits = True
            return False
        outbox.put(item)
        return True

    def _some_room(self) -> bool:
        """Whether some peer has room; if not, it will be told."""
        remotes = self._by_id.remotes.values()
        if any(remote.outbox.room > 0 for remote in remotes):
            return True
        for remote in remotes:
            remote.outbox.writer_waits = True
        return False

    def _room_of_all(self) -> int:
        """As much room as every peer has: whom the next message goes to is not known."""
        remotes = self._by_id.remotes.values()
        return 0 if FanOut.blocked(remotes) else FanOut.room(remotes)
