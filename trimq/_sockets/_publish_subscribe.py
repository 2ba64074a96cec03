"""Pub, Sub, XPub and XSub: the publish-subscribe pattern (RFC 29)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, Unpack

import trio
from trio.lowlevel import enable_ki_protection

from .._errors import ProtocolError, StateError
from .._message import Body, Message, MessageLike, Subscription
from .._options import Option, SocketOptions, boolean, frame
from .._remote import FilteredPipe, Intake, Remote
from .._routing import UNLIMITED, FanOut
from .._subscriptions import TopicCounter, TopicTable
from .._util import until
from ._flow import Receiving, Sending, SendingMany
from ._patterns import FairQueued

__all__ = ["Pub", "PubOptions", "Sub", "XPub", "XPubOptions", "XSub"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 16  # messages
_MAX_TOPICS = 1_000_000  # of one peer: beyond that it is a flood, not a subscriber


class PubOptions(SocketOptions, total=False):
    """The options of a Pub."""

    nodrop: bool


class XPubOptions(PubOptions, total=False):
    """The options of an XPub."""

    verbose: bool
    verboser: bool
    manual: bool
    welcome_message: bytes


class Publisher(SendingMany):
    """Sends each message to the peers that subscribed to a prefix of its first frame."""

    _publishes = True

    nodrop: Option[bool] = Option(
        False, boolean, "Whether to wait, for all, while a subscriber's queue is full (ZMQ_XPUB_NODROP)."
    )

    def _prepare(self) -> None:
        super()._prepare()
        self._topics = TopicTable()
        self._sure = 0  # messages that find room at every subscriber, whatever their topic
        self._offer = self._publish
        self._room = self._room_for_all

    async def wait_for_subscribers(self, n: int = 1, topic: bytes | None = None) -> None:
        """Waits until at least ``n`` direct peers would get a message whose first frame starts with ``topic``.

        Args:
          n: how many peers.
          topic: a topic, or None for peers with any subscription. True at return. A cancellation leaves no trace.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        wanted = None if topic is None else frame("topic", topic)

        def test() -> bool:
            self._check_open()
            if wanted is not None:
                return len(self._topics.match(wanted)) >= n
            return sum(bool(remote.topics) for remote in self._remotes) >= n

        await until(test, self._peer_bell, pace=self._pace)

    def _publish(self, item: Body) -> bool:
        remotes = self._topics.match(item if type(item) is bytes else item[0])  # type: ignore[arg-type]
        if remotes:
            many = len(remotes) > 1
            if self._sure > 0 or self._find_room():
                self._sure -= 1
                FanOut.spread(item, remotes, many)
            elif self.nodrop and FanOut.blocked(remotes):
                return False
            else:
                FanOut.send(item, remotes, many)
        return True

    def _find_room(self) -> bool:
        """Finds out how many messages may be sent without a look at each subscriber's queue.

        Only this socket fills these queues, so that they have at least as much room until then.
        """
        if self._sure < 0:  # it was no use a moment ago
            self._sure += 1
            return False
        self._sure = FanOut.room(remote for remote in self._remotes if remote.topics) or -_PATIENCE
        return self._sure > 0

    def _room_for_all(self) -> int:
        if not self.nodrop:
            return UNLIMITED
        # Which peers a message goes to is not known before it is there: room is what all subscribers have.
        subscribers = [remote for remote in self._remotes if remote.topics]
        return 0 if FanOut.blocked(subscribers) else FanOut.room(subscribers)

    def _option_set(self, name: str) -> None:
        super()._option_set(name)
        self._look_again()

    def _set_marks(self, remote: Remote) -> None:
        self._look_again()
        super()._set_marks(remote)

    def _look_again(self) -> None:
        self._sure = 0

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        self._sure = 0  # it may get a message of welcome, and its queue is not like the others'

    def _opened(self, remote: Remote) -> None:
        super()._opened(remote)
        remote.inbox = Intake(partial(self._upstream, remote))
        remote.on_marks = self._look_again

    def _upstream(self, remote: Remote, item: Any) -> None:
        """What a subscriber sent: subscriptions in either form (wire.md trap 8), or messages of its user."""
        if isinstance(item, Subscription):
            self._subscription(remote, item.topic, item.subscribe)
            return
        rest: list[bytes] = []
        for part in (item,) if isinstance(item, bytes) else item:
            if part[:1] in (b"\0", b"\1"):
                self._subscription(remote, part[1:], part[0] == 1)
            else:
                rest.append(part)
        if rest:
            self._user_message(remote, rest[0] if len(rest) == 1 else rest)

    def _subscription(self, remote: Remote, topic: bytes, subscribe: bool) -> None:
        if subscribe:
            if len(remote.topics) >= _MAX_TOPICS:
                raise ProtocolError(f"the peer has more than {_MAX_TOPICS} subscriptions")
            first = self._topics.add(topic, remote)
        else:
            first = self._topics.remove(topic, remote)
        self._sure = 0
        self._subscribed(remote, topic, subscribe, first)
        self._peer_bell.ring()
        if not subscribe:
            self._serve_senders()  # who waits for room at this peer need not, now

    def _subscribed(self, remote: Remote, topic: bytes, subscribe: bool, changed: bool) -> None:
        """A peer's subscription was noted; it was the topic's first, or last, if ``changed``."""

    def _user_message(self, remote: Remote, item: Body) -> None:
        """A subscriber's user sent this upstream."""

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        self._forget_topics(remote)

    def _left(self, remote: Remote) -> None:
        super()._left(remote)
        self._forget_topics(remote)

    def _forget_topics(self, remote: Remote) -> None:
        for topic in list(remote.topics):
            self._subscribed(remote, topic, False, self._topics.remove(topic, remote))
        self._serve_senders()


class Pub(Publisher, trio.abc.SendChannel[MessageLike]):
    """Publishes to its subscribers: peers are Sub and XSub (RFC 29, ZMQ_PUB).

    ``send`` never waits: a subscriber whose queue is full misses the message, which is counted, unless ``nodrop``. While
    there are no subscribers, messages go nowhere: see `wait_for_subscribers`.
    """

    socket_type = "PUB"
    _accepts = frozenset({"SUB", "XSUB"})
    _connects_once = True

    def __init__(self, **options: Unpack[PubOptions]) -> None:
        super().__init__(**options)


class XPub(Publisher, Receiving):
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
    welcome_message: Option[bytes] = Option(
        b"", frame, "A message for each new subscriber; empty for none (ZMQ_XPUB_WELCOME_MSG)."
    )

    def __init__(self, **options: Unpack[XPubOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._take = self._take_news
        self._receivable = lambda: bool(self._news)
        self._news: deque[tuple[Remote, Body]] = deque()
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

    def _manage(self, topic: bytes, subscribe: bool) -> None:
        self._check_open()
        topic = frame("topic", topic)
        if not self.manual:
            raise StateError("an XPub subscribes for its peers only with manual=True; to subscribe, use Sub or XSub")
        if self._last is not None and self._last.info is not None:
            self._sure = 0
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
        if not subscribe:
            asked_for.discard(topic)
        elif len(asked_for) >= _MAX_TOPICS:
            raise ProtocolError(f"the peer has more than {_MAX_TOPICS} subscriptions")
        else:
            asked_for.add(topic)
        self._tell(remote, topic, subscribe)

    def _subscribed(self, remote: Remote, topic: bytes, subscribe: bool, changed: bool) -> None:
        if changed or self.verboser or (subscribe and self.verbose):
            self._tell(remote, topic, subscribe)

    def _tell(self, remote: Remote, topic: bytes, subscribe: bool) -> None:
        self._user_message(remote, (b"\1" if subscribe else b"\0") + topic)

    def _user_message(self, remote: Remote, item: Body) -> None:
        if not self._closed and not self._terminated:
            self._news.append((remote, item))
            self._serve_receivers()

    def _take_news(self) -> Body | None:
        if not self._news:
            return None
        self._last, item = self._news.popleft()
        return item

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        if self.welcome_message:
            remote.outbox.put_first(self.welcome_message)

    def _forget_topics(self, remote: Remote) -> None:
        if self.manual:
            # What was subscribed by hand goes without a word; what the peer asked for is told (libzmq.md 1.4).
            for topic in list(remote.topics):
                self._topics.remove(topic, remote)
            for topic in sorted(self._asked_for.pop(remote, ())):
                self._tell(remote, topic, False)
        super()._forget_topics(remote)


class Subscriber(FairQueued):
    """Receives what it subscribed to, from each peer in turn."""

    _default_linger = 0.0

    def _prepare(self) -> None:
        super()._prepare()
        self._topics = TopicCounter()

    @enable_ki_protection
    def subscribe(self, topic: bytes) -> None:
        """Subscribes to messages whose first frame starts with ``topic`` (ZMQ_SUBSCRIBE); ``b""`` means all.

        Never blocks. Each peer is told, now or when it is connected (again). As often as it is subscribed to, a topic
        must be unsubscribed from.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        self._check_open()
        topic = frame("topic", topic)
        self._topics.add(topic)
        self._forward(Subscription(topic, True))

    @enable_ki_protection
    def unsubscribe(self, topic: bytes) -> None:
        """Takes back one subscription to ``topic`` (ZMQ_UNSUBSCRIBE); nothing happens if there is none.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        self._check_open()
        topic = frame("topic", topic)
        if self._topics.remove(topic):
            self._forward(Subscription(topic, False))

    def _forward(self, subscription: Subscription) -> None:
        # Subscriptions are state, never lost to a high-water mark: who is not there gets them all when it is.
        for remote in self._remotes:
            if remote.info is not None:
                remote.outbox.put(subscription)

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        for topic in self._topics:
            remote.outbox.put(Subscription(topic, True))

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        queue = remote.outbox.queue
        if queue and remote.partner is None:
            messages = [item for item in queue if not isinstance(item, Subscription)]
            queue.clear()
            queue.extend(messages)


class Sub(Subscriber, trio.abc.ReceiveChannel[Message]):
    """Receives what it subscribed to from publishers: peers are Pub and XPub (RFC 29, ZMQ_SUB).

    Without a subscription it receives nothing. Nothing lingers: ``linger`` is 0 unless set.
    """

    socket_type = "SUB"
    _accepts = frozenset({"PUB", "XPUB"})
    _connects_once = True

    def __init__(self, **options: Unpack[SocketOptions]) -> None:
        super().__init__(**options)

    def _opened(self, remote: Remote) -> None:
        super()._opened(remote)
        remote.inbox = FilteredPipe(self.receive_hwm, self._topics.wants, self._topics.select)

    @enable_ki_protection
    def unsubscribe(self, topic: bytes) -> None:
        """Takes back one subscription to ``topic``; what waits and is no longer subscribed to is dropped.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        super().unsubscribe(topic)
        if self._fair.sources():
            # Soon, or before anything is taken, for all topics of this tick at once: it is a look at all that waits.
            trio.lowlevel.current_trio_token().run_sync_soon(self._refilter, idempotent=True)
            self._take = self._refiltered(self._fair.take)
            self._take_many = self._refiltered(self._fair.take_many)
            self._receivable = self._refiltered(self._fair.ready)

    def _refiltered(self, strategy: Callable[P, T]) -> Callable[P, T]:
        def first(*args: P.args, **kwargs: P.kwargs) -> T:
            self._refilter()
            return strategy(*args, **kwargs)

        return first

    def _refilter(self) -> None:
        if not self._closed and not self._terminated:
            self._take, self._take_many, self._receivable = self._fair.take, self._fair.take_many, self._fair.ready
            for remote in self._fair.sources():
                assert isinstance(remote.inbox, FilteredPipe)
                remote.inbox.refilter()


class XSub(Subscriber, Sending):
    """A Sub that also sends: subscriptions as ``01 topic`` and ``00 topic``, and messages for XPub users (RFC 29, ZMQ_XSUB).

    What it receives is not filtered again. ``send`` never waits: a peer whose queue is full misses the message, which is
    counted; subscriptions are never dropped.
    """

    socket_type = "XSUB"
    _accepts = frozenset({"PUB", "XPUB"})

    def __init__(self, **options: Unpack[SocketOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._offer = self._send_upstream

    def _send_upstream(self, item: Body) -> bool:
        if isinstance(item, bytes) and item[:1] == b"\1":
            self.subscribe(item[1:])
        elif isinstance(item, bytes) and item[:1] == b"\0":
            self.unsubscribe(item[1:])
        else:
            remotes = [remote for remote in self._remotes if not remote.retired]
            FanOut.send(item, remotes, len(remotes) > 1)
        return True

    def _sendable(self) -> bool:
        return True
