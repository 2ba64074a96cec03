"""Sub and XSub: the subscribing side of the publish-subscribe pattern (RFC 29)."""

from __future__ import annotations

from typing import Any, Unpack

import trio
from trio.lowlevel import enable_ki_protection

from .._limits import make_filtered_pipe
from .._message import Body, Message, MessageLike, Subscription
from .._options import Option, SocketOptions, boolean, frame
from .._pipe import Pipe
from .._remote import FilteredPipe, Remote
from .._routing import FanOut
from .._subscriptions import TopicCounter
from ._filtering import Filtering, confirmed
from ._flow import Sending
from ._multicasting import ReliablyMulticasting
from ._patterns import Conflating, FairQueued

__all__ = ["Sub", "SubOptions", "XSub", "XSubOptions"]


class SubOptions(SocketOptions, total=False):
    """The options of a Sub."""

    conflate: bool
    invert_matching: bool
    multicast_hops: int
    multicast_loop: bool
    rate: int
    recovery_interval: float
    multicast_maxtpdu: int


class XSubOptions(SocketOptions, total=False):
    """The options of an XSub."""

    only_first_subscribe: bool
    verbose_unsubscribe: bool
    multicast_hops: int
    multicast_loop: bool
    rate: int
    recovery_interval: float
    multicast_maxtpdu: int


class Subscriber(ReliablyMulticasting, FairQueued[Message]):
    """Receives what it subscribed to, from each peer in turn."""

    _default_linger = 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("subscribe", "unsubscribe"):  # as other bindings have it; it would only hide the method
            raise AttributeError(f"{name} is a method: call {name}(topic), once for each topic")
        super().__setattr__(name, value)

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
        if self._topics.remove(topic) or self._always_forwards():
            self._forward(Subscription(topic, False))

    def _always_forwards(self) -> bool:
        """Whether every cancellation goes to the peers, the topic's last or not."""
        return False

    def _topic_count(self) -> int:
        return len(self._topics)

    async def wait_subscribed(self) -> bool:
        """Waits until the peers that are there now have read all subscriptions made before.

        A peer that is trimq has then applied them: what it sends from now on arrives. libzmq answers before its program's
        next call has applied them, so that there it only makes the gap small; the docs have a way for that.

        The answers come behind the messages that a peer has sent before: receive meanwhile, for they are not read while
        this socket's own queue is full.

        Returns:
          whether all of them have. A peer that goes away meanwhile has not, nor has one that cannot say so (ZMTP 3.0).

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.

        A cancellation leaves no trace.
        """
        return await confirmed(self)

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
            remote.outbox.skip(len(queue) - len(messages))
            queue.clear()
            queue.extend(messages)


class Sub(Conflating, Subscriber, Filtering[Message], trio.abc.ReceiveChannel[Message]):
    """Receives what it subscribed to from publishers: peers are Pub and XPub (RFC 29, ZMQ_SUB).

    Without a subscription it receives nothing. Nothing lingers: ``linger`` is 0 unless set.
    """

    socket_type = "SUB"
    _accepts = frozenset({"PUB", "XPUB"})
    _connects_once = True

    invert_matching: Option[bool] = Option(
        False, boolean, "Whether it receives what it did not subscribe to; Pubs must set it, too (ZMQ_INVERT_MATCHING)."
    )

    def __init__(self, **options: Unpack[SubOptions]) -> None:
        super().__init__(**options)

    def _opened(self, remote: Remote) -> None:
        topics = self._topics
        remote.inbox = make_filtered_pipe(self.receive_hwm, self.receive_hwm_bytes, topics.wants, topics.select)
        self._set_filter(remote.inbox)
        super()._opened(remote)

    def _conflate(self, remote: Remote, pipe: Pipe) -> None:
        if pipe is remote.inbox:  # what goes out are subscriptions, and each of them counts
            super()._conflate(remote, pipe)

    def _set_filter(self, pipe: FilteredPipe) -> None:
        topics = self._topics
        if self.invert_matching:
            pipe.set_filter(
                lambda item: not topics.wants(item), lambda items: [item for item in items if not topics.wants(item)]
            )
        else:
            pipe.set_filter(topics.wants, topics.select)

    def _option_set(self, name: str) -> None:
        super()._option_set(name)
        if name == "invert_matching":
            for remote in (*self._remotes, *self._fair.sources()):
                assert isinstance(remote.inbox, FilteredPipe)
                self._set_filter(remote.inbox)
            self._refilter()  # what waits is looked at again, as in libzmq

    @enable_ki_protection
    def unsubscribe(self, topic: bytes) -> None:
        """Takes back one subscription to ``topic``; what waits and is no longer subscribed to is dropped.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        super().unsubscribe(topic)
        self._refilter_soon()


class XSub(Subscriber, Sending[MessageLike]):
    """A Sub that also sends: subscriptions as ``01 topic`` and ``00 topic``, and messages for XPub users (RFC 29, ZMQ_XSUB).

    What it receives is not filtered again. ``send`` never waits: a peer whose queue is full misses the message, which is
    counted; subscriptions are never dropped.
    """

    socket_type = "XSUB"
    _accepts = frozenset({"PUB", "XPUB"})

    only_first_subscribe: Option[bool] = Option(
        False,
        boolean,
        "Whether of a message with several frames only the first may be a subscription (ZMQ_ONLY_FIRST_SUBSCRIBE).",
    )
    verbose_unsubscribe: Option[bool] = Option(
        False, boolean, "Whether every cancellation goes to the peers (ZMQ_XSUB_VERBOSE_UNSUBSCRIBE)."
    )

    def __init__(self, **options: Unpack[XSubOptions]) -> None:
        super().__init__(**options)

    def _always_forwards(self) -> bool:
        return self.verbose_unsubscribe

    def _prepare(self) -> None:
        super()._prepare()
        self._offer = self._send_upstream

    def _send_upstream(self, item: Body) -> bool:
        rest: list[bytes] = []
        for number, part in enumerate((item,) if isinstance(item, bytes) else item):
            if part[:1] not in (b"\0", b"\1") or (number and self.only_first_subscribe):
                rest.append(part)
            elif part[0]:
                self.subscribe(part[1:])
            else:
                self.unsubscribe(part[1:])
        if rest:
            remotes = [remote for remote in self._remotes if not remote.retired and remote.datagram_size is None]
            FanOut.send(rest[0] if len(rest) == 1 else rest, remotes, len(remotes) > 1)
        return True

    def _sendable(self) -> bool:
        return True
