"""Pub and XPub: the publishing side of the publish-subscribe pattern (RFC 29)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Unpack

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from .._errors import ProtocolError, StateError
from .._message import Body, Message, MessageLike, Subscription
from .._options import Option, SocketOptions, boolean, frame
from .._remote import Intake, Remote
from .._statistics import SocketStatistics
from .._subscriptions import TopicTable
from ._fan_out import MAX_TOPICS, FanningOut
from ._flow import Receiving
from ._multicasting import ReliablyMulticasting
from ._news import News
from ._patterns import Conflating

__all__ = ["Pub", "PubOptions", "XPub", "XPubOptions"]


class PubOptions(SocketOptions, total=False):
    """The options of a Pub."""

    nodrop: bool
    mute: str
    invert_matching: bool
    only_first_subscribe: bool
    conflate: bool
    multicast_hops: int
    multicast_loop: bool
    rate: int
    recovery_interval: float
    multicast_maxtpdu: int


class XPubOptions(SocketOptions, total=False):
    """The options of an XPub."""

    nodrop: bool
    mute: str
    invert_matching: bool
    only_first_subscribe: bool
    verbose: bool
    verboser: bool
    manual: bool
    manual_last_value: bool
    welcome_message: bytes
    multicast_hops: int
    multicast_loop: bool
    rate: int
    recovery_interval: float
    multicast_maxtpdu: int


class Publisher(ReliablyMulticasting, FanningOut[MessageLike]):
    """Sends each message to the peers that subscribed to a prefix of its first frame."""

    invert_matching: Option[bool] = Option(
        False,
        boolean,
        "Whether subscribers get what they did not subscribe to; Subs must set it, too (ZMQ_INVERT_MATCHING).",
    )
    only_first_subscribe: Option[bool] = Option(
        False,
        boolean,
        "Whether of a message with several frames only the first may be a subscription (ZMQ_ONLY_FIRST_SUBSCRIBE).",
    )

    _topics: TopicTable

    def _make_table(self) -> TopicTable:
        return TopicTable()

    def _lendable(self, remotes: Mapping[Remote, None]) -> Callable[[Body], object]:
        if self._topics.sole == b"" and len(remotes) == 1:  # there is nothing to look up
            [remote] = remotes
            outbox = remote.outbox
            if remote.partner is None and type(outbox.queue) is deque and not outbox.reader_waits:
                return outbox.queue.append
        return super()._lendable(remotes)

    def _choose(self) -> None:
        self._offer = self._publish_inverted if self.invert_matching else self._publish

    async def wait_for_subscribers(self, n: int = 1, topic: bytes | None = None) -> None:
        """Waits until at least ``n`` direct peers would get a message whose first frame starts with ``topic``.

        Args:
          n: how many peers.
          topic: a topic, or None for peers with any subscription. True at return. A cancellation leaves no trace. A peer
            that was connected to, and has come back, also counts by what it had subscribed to before: that is kept.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        await self._wait_for_interest(n, None if topic is None else frame("topic", topic))

    def _publish_inverted(self, item: Body) -> bool:
        matched = self._topics.match(item if isinstance(item, bytes) else item[0])
        others = dict.fromkeys(
            remote
            for remote in self._remotes
            if (remote.info is not None and remote not in matched)
            or (remote.datagram_size is not None and not remote.retired)
        )
        return self._publish_to(item, others)

    # Over multicast nobody says what they subscribe to. The remote gets everything, as if it had subscribed to that, but
    # nobody is told so: there is no peer.

    def _joined(self, remote: Remote) -> None:
        super()._joined(remote)
        if remote.datagram_size is not None:
            self._topics.add(b"", remote)
            self._look_again()

    def _left(self, remote: Remote) -> None:
        if remote.datagram_size is not None:
            self._topics.forget(b"", remote)
            self._look_again()
        super()._left(remote)

    def _interested(self, remote: Remote) -> bool:
        return super()._interested(remote) or self.invert_matching

    def _upstream(self, remote: Remote, item: Any) -> None:
        """What a subscriber sent: subscriptions in either form (wire.md trap 8), or messages of its user."""
        if isinstance(item, Subscription):
            self._subscription(remote, item.topic, item.subscribe)
            return
        rest: list[bytes] = []
        for number, part in enumerate((item,) if isinstance(item, bytes) else item):
            if part[:1] in (b"\0", b"\1") and not (number and self.only_first_subscribe):
                self._subscription(remote, part[1:], part[0] == 1)
            else:
                rest.append(part)
        if rest:
            self._user_message(remote, rest[0] if len(rest) == 1 else rest)

    def _user_message(self, remote: Remote, item: Body) -> None:
        """A subscriber's user sent this upstream."""


class Pub(Conflating, Publisher, trio.abc.SendChannel[MessageLike]):
    """Publishes to its subscribers: peers are Sub and XSub (RFC 29, ZMQ_PUB).

    ``send`` never waits, unless ``mute`` is ``"block"``: a subscriber whose queue is full misses the message, which is
    counted. While there are no subscribers, messages go nowhere: see `wait_for_subscribers`.
    """

    socket_type = "PUB"
    _accepts = frozenset({"SUB", "XSUB"})
    _connects_once = True

    def __init__(self, **options: Unpack[PubOptions]) -> None:
        super().__init__(**options)


class XPub(Publisher, Receiving[Message]):
    """A Pub that also receives: its peers' subscriptions, as ``01 topic`` and ``00 topic``, and what XSub users send
    (RFC 29, ZMQ_XPUB).

    By default a topic's first subscription and last cancellation are passed to the user; ``verbose`` passes every
    subscription, ``verboser`` every cancellation too. With ``manual`` nothing is subscribed until the user calls
    `subscribe`, for the peer of the message received last. ``welcome_message`` goes to each new peer.
    """

    socket_type = "XPUB"
    _accepts = frozenset({"SUB", "XSUB"})

    verbose: Option[bool] = Option(
        False, boolean, "Whether every subscription is passed to the user (ZMQ_XPUB_VERBOSE)."
    )
    verboser: Option[bool] = Option(False, boolean, "Whether every cancellation is passed, too (ZMQ_XPUB_VERBOSER).")
    manual: Option[bool] = Option(False, boolean, "Whether the user subscribes for the peers (ZMQ_XPUB_MANUAL).")
    manual_last_value: Option[bool] = Option(
        False,
        boolean,
        "Whether, with ``manual``, the first message after a receive goes to the peer of what was received alone: a cache "
        "then answers who has just subscribed (ZMQ_XPUB_MANUAL_LAST_VALUE).",
    )
    welcome_message: Option[bytes] = Option(
        b"", frame, "A message for each new subscriber; empty for none (ZMQ_XPUB_WELCOME_MSG)."
    )

    def __init__(self, **options: Unpack[XPubOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._take = self._take_news
        self._receivable = lambda: bool(self._news)
        self._news = News()
        self._last: Remote | None = None  # whom the message received last came from
        self._asked_for: dict[Remote, set[bytes]] = {}  # manual: what the peers subscribed to

    @enable_ki_protection
    def subscribe(self, topic: bytes) -> None:
        """Subscribes the peer of the message received last to a topic (``manual`` only; nothing if it is gone).

        Raises:
          StateError: ``manual`` is off.
        """
        self._manage(topic, True)

    @enable_ki_protection
    def unsubscribe(self, topic: bytes) -> None:
        """Cancels a topic of the peer of the message received last (``manual`` only; nothing if it is gone).

        Raises:
          StateError: ``manual`` is off.
        """
        self._manage(topic, False)

    def _choose(self) -> None:
        super()._choose()
        if self.manual and self.manual_last_value:
            self._offer = self._publish_to_last

    def _publish_to_last(self, item: Body) -> bool:
        last = self._last
        if last is None or last.info is None:  # it has left: there is nobody whom the message would be for
            return self._publish(item)
        matched = self._topics.match(item if isinstance(item, bytes) else item[0])
        if last in matched and not self._publish_to(item, {last: None}):
            return False
        self._last = None
        return True

    def _manage(self, topic: bytes, subscribe: bool) -> None:
        self._check_open()
        topic = frame("topic", topic)
        if not self.manual:
            raise StateError("an XPub subscribes for its peers only with manual=True; to subscribe, use Sub or XSub")
        if self._last is not None and self._last.info is not None:
            self._look_again()
            if subscribe:
                self._topics.add(topic, self._last)
            else:
                self._topics.remove(topic, self._last)
                self._serve_senders()
            self._peer_bell.ring()

    def _subscription(self, remote: Remote, topic: bytes, subscribe: bool) -> None:
        if not self.manual:
            super()._subscription(remote, topic, subscribe)
            return
        asked_for = self._asked_for.setdefault(remote, set())
        if not subscribe and topic not in asked_for:
            self._stray(remote, topic)
            return
        if not subscribe:
            asked_for.remove(topic)
        elif topic not in asked_for and len(asked_for) >= MAX_TOPICS:
            raise ProtocolError(f"the peer has more than {MAX_TOPICS} subscriptions")
        else:
            asked_for.add(topic)
        self._tell(remote, topic, subscribe)

    def _subscribed(self, remote: Remote, topic: bytes, subscribe: bool, changed: bool) -> None:
        if changed or self.verboser or (subscribe and self.verbose):
            self._tell(remote, topic, subscribe)

    def _tell(self, remote: Remote, topic: bytes, subscribe: bool) -> None:
        if not self._closed and not self._terminated:
            told_of_peers = self.manual or self.verbose or self.verboser
            self._news.change(remote, topic, subscribe, (topic, remote if told_of_peers else None), self.receive_hwm)
            self._serve_receivers()

    def _stray(self, remote: Remote, topic: bytes) -> None:
        if self.manual or self.verboser or topic not in self._topics:
            self._user_message(remote, b"\0" + topic)  # as libzmq does

    def _user_message(self, remote: Remote, item: Body) -> None:
        if not self._closed and not self._terminated:
            self._news.add(remote, item)
            self._serve_receivers()

    def _source(self) -> Remote | None:
        return self._last

    def _statistics(self) -> SocketStatistics:
        return attrs.evolve(super()._statistics(), waiting=len(self._news))  # subscriptions wait, too

    def _take_news(self) -> Body | None:
        if not self._news:
            return None
        self._last, item = self._news.take()
        return item

    def _opened(self, remote: Remote) -> None:
        super()._opened(remote)
        remote.inbox = Intake(partial(self._upstream, remote), self.receive_hwm)

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        if self.welcome_message:
            remote.outbox.put_first(self.welcome_message)

    def _forget_topics(self, remote: Remote) -> None:
        if self.manual:
            # What was subscribed by hand goes without a word; what the peer asked for is told (libzmq.md 1.4).
            for topic in list(remote.topics):
                self._topics.remove(topic, remote)
            for topic in sorted(self._asked_for.get(remote, ())):
                self._tell(remote, topic, False)
        self._asked_for.pop(remote, None)
        super()._forget_topics(remote)
