"""Fanning out: what Pub, XPub and Radio have in common. Who wants a message, and what happens where there is no room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from .._errors import ProtocolError
from .._message import Body
from .._monitor import Subscribed, Unsubscribed
from .._options import Option, boolean, choice
from .._pace import Ahead
from .._remote import Intake, Remote
from .._routing import UNLIMITED, FanOut
from .._subscriptions import Table
from .._util import until
from ._flow import SendingMany, Sent_contra

__all__ = ["MAX_TOPICS", "FanningOut"]

MAX_TOPICS = 1_000_000
"""Topics of one peer: beyond that it is a flood, not a subscriber."""

_PATIENCE = 16  # messages


class _NoDrop(Option[bool]):
    """``nodrop`` is another word for one of the values of ``mute``."""

    def __get__(self, socket: Any, owner: type) -> Any:
        return self if socket is None else socket.mute == "block"

    def __set__(self, socket: Any, value: bool) -> None:
        socket.mute = "block" if self.check(self.name, value) else "drop_new"


class FanningOut(SendingMany[Sent_contra]):
    """Sends each message to the peers that subscribed to what its first frame says. A type says what matches what."""

    _publishes = True

    mute: Option[str] = Option(
        "drop_new",
        choice("drop_new", "drop_old", "block"),
        "What happens when a subscriber's queue is full: that subscriber misses the message (``drop_new``), or the oldest "
        "one that waits (``drop_old``), or ``send`` waits, for all (``block``).",
        also=("nodrop",),
    )
    nodrop: Option[bool] = _NoDrop(
        False, boolean, 'The same as ``mute="block"``, by libzmq\'s name (ZMQ_XPUB_NODROP).', also=("mute",)
    )

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self._ahead = Ahead(self._pace)

    def _prepare(self) -> None:
        super()._prepare()
        self._topics = self._make_table()
        self._sure = 0  # messages that find room at every subscriber, whatever their topic
        self._lent: list[Callable[[Body], object]] = []  # what calls may do without asking: see `_routing`
        self._choose()
        self._room = self._room_for_all

    def _make_table(self) -> Table:
        """Who subscribed to what."""
        raise NotImplementedError

    def _choose(self) -> None:
        self._offer = self._publish

    def _interested(self, remote: Remote) -> bool:
        """Whether the peer may get messages."""
        return bool(remote.topics)

    def _room_for_all(self) -> int:
        if self.mute != "block":
            return UNLIMITED
        # Which peers a message goes to is not known before it is there: room is what all subscribers have.
        subscribers = [remote for remote in self._remotes if self._interested(remote)]
        return 0 if FanOut.blocked(subscribers) else FanOut.room(subscribers)

    def _count(self, topic: bytes) -> int:
        """How many peers asked for what starts with the topic, or is of the group."""
        return sum(remote.info is not None for remote in self._topics.match(topic))

    async def _wait_for_interest(self, n: int, topic: bytes | None) -> None:
        def test() -> bool:
            self._check_open()
            if topic is not None:
                return self._count(topic) >= n
            return sum(remote.info is not None and bool(remote.topics) for remote in self._remotes) >= n

        await until(test, self._peer_bell, pace=self._pace)

    def _publish(self, item: Body) -> bool:
        self._lent.clear()
        remotes = self._topics.match(item if type(item) is bytes else item[0])  # type: ignore[arg-type]
        if remotes:
            many = len(remotes) > 1
            if self._sure > 0 or self._find_room():
                self._sure -= 1
                FanOut.spread(item, remotes, many)
                if self._ahead.pace.ahead and self._offer == self._publish:  # else a type has to see each message
                    most = self._ahead.most(self._sure)
                    self._sure -= most
                    self._lent += [self._lendable(remotes)] * most
                    self._credit.puts = iter(self._lent)
                return True
            return self._publish_to(item, remotes)
        return True

    def _lendable(self, remotes: Mapping[Remote, None]) -> Callable[[Body], object]:
        """What may be called for messages that all find room, after one that went to these peers."""
        return self._spread

    def _spread(self, item: Body) -> None:
        """Publishes where all have room."""
        remotes = self._topics.match(item if type(item) is bytes else item[0])  # type: ignore[arg-type]
        if remotes:
            FanOut.spread(item, remotes, len(remotes) > 1)

    def _offer_many(self, values: Iterator[Sent_contra], limit: int) -> int:
        if self._offer != self._publish:
            return super()._offer_many(values, limit)
        taken = 0
        for value in islice(values, limit):
            taken += 1
            item: Any = value if type(value) is bytes else self._pack(value)
            if self._sure > 0:
                self._sure -= 1
                self._spread(item)
            elif not self._publish(item):
                self._refuse_many()
        return taken

    def _publish_to(self, item: Body, remotes: Mapping[Remote, None]) -> bool:
        """Publishes to peers of which some may be full."""
        if self.mute == "block" and FanOut.blocked(remotes):
            return False
        FanOut.send(item, remotes, len(remotes) > 1, drop_old=self.mute == "drop_old")
        return True

    def _find_room(self) -> bool:
        """Finds out how many messages may be sent without a look at each subscriber's queue.

        Only this socket fills these queues, so that they have at least as much room until then.
        """
        if self._sure < 0:  # it was no use a moment ago
            self._sure += 1
            return False
        self._sure = FanOut.room(remote for remote in self._remotes if self._interested(remote)) or -_PATIENCE
        return self._sure > 0

    def _option_set(self, name: str) -> None:
        if not self._closed and not self._terminated:
            self._choose()
        super()._option_set(name)
        self._look_again()

    def _topic_count(self) -> int:
        return len(self._topics)

    def _set_marks(self, remote: Remote) -> None:
        self._look_again()
        super()._set_marks(remote)

    def _look_again(self) -> None:
        """It is no longer sure who has room for how much."""
        self._sure = 0
        self._lent.clear()

    def _hook(self, remote: Remote) -> None:
        super()._hook(remote)
        remote.outbox.lent_puts = self._lent.clear

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        self._look_again()  # it may get a message of welcome, and its queue is not like the others'

    def _opened(self, remote: Remote) -> None:
        super()._opened(remote)
        remote.inbox = Intake(partial(self._upstream, remote))
        remote.on_marks = self._look_again

    def _upstream(self, remote: Remote, item: Any) -> None:
        """A subscriber sent this."""
        raise NotImplementedError

    def _subscription(self, remote: Remote, topic: bytes, subscribe: bool) -> None:
        if subscribe:
            if topic not in remote.topics and len(remote.topics) >= MAX_TOPICS:
                raise ProtocolError(f"the peer has more than {MAX_TOPICS} subscriptions")
            first = self._topics.add(topic, remote)
        elif topic not in remote.topics:
            self._stray(remote, topic)
            return
        else:
            first = self._topics.remove(topic, remote)
        self._look_again()
        if self._monitor.listeners:
            self._tell_listeners(remote, topic, subscribe)
        self._subscribed(remote, topic, subscribe, first)
        self._peer_bell.ring()
        if not subscribe:
            self._serve_senders()  # who waits for room at this peer need not, now

    def _tell_listeners(self, remote: Remote, topic: bytes, subscribe: bool) -> None:
        peer = remote.info or remote.last_info
        if subscribe:
            assert peer is not None
            self._monitor.tell(Subscribed(remote.where, peer, topic))
        else:
            self._monitor.tell(Unsubscribed(remote.where, peer, topic))

    def _subscribed(self, remote: Remote, topic: bytes, subscribe: bool, changed: bool) -> None:
        """A peer's subscription was noted; it was the topic's first, or last, if ``changed``."""

    def _stray(self, remote: Remote, topic: bytes) -> None:
        """A peer cancelled what it had not subscribed to."""

    # A peer that was connected to keeps its subscriptions and its queue while its connection is down (RFC 29, libzmq).

    def _left(self, remote: Remote) -> None:
        super()._left(remote)
        self._forget_topics(remote)

    def _forget_topics(self, remote: Remote) -> None:
        for topic in list(remote.topics):
            if self._monitor.listeners:
                self._tell_listeners(remote, topic, False)
            self._subscribed(remote, topic, False, self._topics.forget(topic, remote))
        self._look_again()
        self._serve_senders()
