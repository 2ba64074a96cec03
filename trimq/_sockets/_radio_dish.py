"""Radio and Dish: messages to those who joined a group, by its exact name (libzmq's drafts)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Unpack, cast

import trio
from trio.lowlevel import enable_ki_protection

from .._abc_datagrams import DatagramCodec
from .._errors import MessageTooLarge
from .._limits import make_filtered_pipe
from .._message import MAX_GROUP, GroupMessage, Membership, group_name
from .._options import SocketOptions
from .._remote import Remote
from .._subscriptions import Groups, GroupTable
from .._wire._datagrams import GroupDatagrams
from .._wire._groups import GroupConnection
from ._fan_out import FanningOut
from ._filtering import Filtering, confirmed
from ._multicasting import Multicasting

__all__ = ["Dish", "DishOptions", "Radio", "RadioOptions"]


class RadioOptions(SocketOptions, total=False):
    """The options of a Radio."""

    nodrop: bool
    mute: str
    multicast_hops: int
    multicast_loop: bool


class DishOptions(SocketOptions, total=False):
    """The options of a Dish."""


class Radio(Multicasting, FanningOut[GroupMessage], trio.abc.SendChannel[GroupMessage]):
    """Sends each message to the peers that joined its group: peers are Dish (ZMQ_RADIO).

    It sends `GroupMessage <trimq.GroupMessage>`. ``send`` never waits, unless ``mute`` is ``"block"``: a peer whose queue
    is full misses the message, which is counted. Over udp, where it can only ``connect``, all messages go out, whoever is
    there; one that does not fit into a datagram of 8192 bytes raises MessageTooLarge, and goes to nobody.
    """

    socket_type = "RADIO"
    _form = "group"
    _accepts = frozenset({"DISH"})
    _speaks = GroupConnection
    _datagram_verbs = frozenset({"connect"})

    _topics: GroupTable

    def __init__(self, **options: Unpack[RadioOptions]) -> None:
        super().__init__(**options)

    async def wait_for_members(self, n: int = 1, group: bytes | str | None = None) -> None:
        """Waits until at least ``n`` direct peers have joined a group. Endpoints of udp do not count.

        Args:
          n: how many peers.
          group: its name, or None for peers that have joined any. True at return. A cancellation leaves no trace.

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.
        """
        await self._wait_for_interest(n, None if group is None else group_name(group))

    def _prepare(self) -> None:
        super()._prepare()
        self._most = math.inf  # bytes of a message, its group's name and one more included

    def _make_table(self) -> GroupTable:
        return GroupTable()

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        self._forget_topics(remote)  # joins are counted, and it joins anew when it is back

    def _interested(self, remote: Remote) -> bool:
        return remote.datagram_size is not None or super()._interested(remote)

    def _count(self, topic: bytes) -> int:
        return self._topics.members(topic)

    def _choose(self) -> None:
        self._offer = self._radiate

    def _radiate(self, item: Any) -> bool:
        if type(item) is not list:
            raise _no_group_message(item)
        message = cast(list[bytes], item)
        size = 1 + len(message[0]) + len(message[1])
        if size > self._most:
            raise MessageTooLarge(
                f"a message over udp has at most {self._most:.0f} bytes, its group's name and one more included, not {size}"
            )
        return self._publish(message)

    def _pack(self, value: Any) -> list[bytes]:
        if not isinstance(value, GroupMessage):
            raise _no_group_message(value)
        group = value.group
        if len(group) > MAX_GROUP:
            raise MessageTooLarge(f"a group's name has at most {MAX_GROUP} bytes, not {len(group)}")
        if b"\0" in group:
            raise ValueError(f"a group's name has no zero byte, where libzmq would end it: {group!r}")
        return [group, value.body]

    def _behind(self, item: Any) -> bool:
        if type(item) is not list:
            raise _no_group_message(item)
        return super()._behind(item)

    def _put_all(self, bodies: list[Any]) -> None:
        super()._put_all([self._pack(body) for body in bodies])

    def _upstream(self, remote: Remote, item: Any) -> None:
        if isinstance(item, Membership):
            self._subscription(remote, item.topic, item.subscribe)

    def _joined(self, remote: Remote) -> None:
        super()._joined(remote)
        if remote.datagram_size is not None:
            self._topics.add_everywhere(remote)
            self._look_again()
            self._most = _most(self._remotes)

    def _left(self, remote: Remote) -> None:
        if remote.datagram_size is not None:
            self._topics.remove_everywhere(remote)
            self._look_again()
            self._most = _most(other for other in self._remotes if other is not remote)
        super()._left(remote)

    def _datagrams(self) -> DatagramCodec:
        return GroupDatagrams()


class Dish(Filtering[GroupMessage], trio.abc.ReceiveChannel[GroupMessage]):
    """Receives the messages of the groups that it joined, from each peer in turn: peers are Radio (ZMQ_DISH).

    It receives `GroupMessage <trimq.GroupMessage>`, and nothing without having joined a group. Nothing lingers: ``linger``
    is 0 unless set. Over udp, where it can only ``bind``, what comes while its queue is full is dropped and counted, and so
    is a malformed datagram.
    """

    socket_type = "DISH"
    _form = "group"
    _accepts = frozenset({"RADIO"})
    _speaks = GroupConnection
    _datagram_verbs = frozenset({"bind"})
    _default_linger = 0.0

    def __init__(self, **options: Unpack[DishOptions]) -> None:
        super().__init__(**options)

    def _prepare(self) -> None:
        super()._prepare()
        self._groups = Groups()
        self._choose_takes()

    @property
    def groups(self) -> tuple[bytes, ...]:
        """The groups that are joined, in order."""
        return tuple(self._groups.names)

    @enable_ki_protection
    def join(self, group: bytes | str) -> None:
        """Joins a group: its messages are received from now on (zmq_join). Never blocks.

        Each peer is told, now or when it is connected (again); over udp nobody is.

        Args:
          group: its exact name, up to 255 bytes and none of them zero; a str is encoded in UTF-8.

        Raises:
          ValueError: it is joined already, or is no name.
          ContextTerminated, SocketClosed: the socket has ended.
        """
        self._check_open()
        name = _check_group(group)
        if name in self._groups.names:
            raise ValueError(f"this Dish has joined {name!r} already")
        self._groups.names[name] = None
        self._forward(Membership(name, True))

    @enable_ki_protection
    def leave(self, group: bytes | str) -> None:
        """Leaves a group (zmq_leave); what waits of its messages is dropped. Never blocks.

        Args:
          group: its exact name.

        Raises:
          ValueError: it is not joined, or is no name.
          ContextTerminated, SocketClosed: the socket has ended.
        """
        self._check_open()
        name = _check_group(group)
        if name not in self._groups.names:
            have = ", ".join(map(repr, self._groups.names)) or "none"
            raise ValueError(f"this Dish has not joined {name!r}; its groups are {have}")
        del self._groups.names[name]
        self._forward(Membership(name, False))
        self._refilter_soon()

    async def wait_joined(self) -> bool:
        """Waits until the peers that are there now have read all joins and leaves made before.

        A peer that is trimq has then applied them: what it sends from now on arrives. libzmq answers before its program's
        next call has applied them. The answers come behind the messages that a peer has sent before: receive meanwhile.

        Returns:
          whether all of them have. A peer that goes away meanwhile has not, nor has one that cannot say so (ZMTP 3.0).

        Raises:
          ContextTerminated, SocketClosed: the socket has ended.

        A cancellation leaves no trace.
        """
        return await confirmed(self)

    def _choose_takes(self) -> None:
        self._take, self._take_many, self._receivable = self._take_one, self._take_some, self._fair.ready

    def _take_one(self) -> GroupMessage | None:
        item: Any = self._fair.take()
        return None if item is None else GroupMessage(item[0], item[1])

    def _take_some(self, limit: int) -> list[GroupMessage]:
        items: list[Any] = self._fair.take_many(limit)
        return [GroupMessage(group, body) for group, body in items]

    def _topic_count(self) -> int:
        return len(self._groups.names)

    def _forward(self, membership: Membership) -> None:
        # Joins are state, never lost to a high-water mark: who is not there gets them all when it is.
        for remote in self._remotes:
            if remote.info is not None:
                remote.outbox.put(membership)

    def _opened(self, remote: Remote) -> None:
        groups = self._groups
        remote.inbox = make_filtered_pipe(self.receive_hwm, self.receive_hwm_bytes, groups.wants, groups.select)
        super()._opened(remote)

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        for group in self._groups.names:
            remote.outbox.put(Membership(group, True))

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        if remote.partner is None:
            remote.outbox.queue.clear()  # joins and leaves are all that is there

    def _datagrams(self) -> DatagramCodec:
        return GroupDatagrams()


def _most(remotes: Iterable[Remote]) -> float:
    return min((remote.datagram_size for remote in remotes if remote.datagram_size is not None), default=math.inf)


def _check_group(group: bytes | str) -> bytes:
    name = group_name(group)
    if len(name) > MAX_GROUP:
        raise ValueError(f"a group's name has at most {MAX_GROUP} bytes, not {len(name)}")
    if b"\0" in name:
        raise ValueError(f"a group's name has no zero byte, where libzmq would end it: {name!r}")
    return name


def _no_group_message(value: object) -> TypeError:
    return TypeError(
        f"a Radio sends GroupMessage(group, body), a body of one frame, as trimq.GroupMessage('news', b'hello'), "
        f"not {type(value).__name__}"
    )
