"""A network in memory, to hand to ``open_context(transports=[...])`` in tests.

Nothing here touches the system: every wait is trio's own, so that trio's autojump clock runs through
back-offs and time-outs at once. Streams hold a limited number of bytes, as a kernel's do, so that
high-water marks fill up. Who reaches whom, and who is cut off from whom, is known here.
"""

from __future__ import annotations

import copy
import errno
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable

import trio
from trio.lowlevel import ParkingLot, checkpoint

from .._abc import Listener, StreamTransport
from .._errors import AddressInUse, InvalidEndpoint
from .._options import Settings
from ._network import Conditions, Connection
from ._stream import MemoryStream, ends

__all__ = ["MemoryStream", "MemoryTransport"]

_SYN_GIVES_UP = 127.0  # seconds: Linux's tcp_syn_retries=6


class _Internet:
    """What all hosts of a network share."""

    def __init__(self, conditions: Conditions, on_connect: Callable[[MemoryStream], object] | None) -> None:
        self.conditions = conditions
        self.on_connect = on_connect
        self.listeners: dict[str, _MemoryListener] = {}
        self.streams: list[MemoryStream] = []
        self.connections: list[Connection] = []
        self.ports = itertools.count(49152)
        self.numbers = Counter[tuple[str, str]]()
        self.groups: list[frozenset[str]] | None = None
        self.changed = ParkingLot()

    def find(self, address: str) -> _MemoryListener | None:
        """Who listens there."""
        return self.listeners.get(address) or self.listeners.get("*" + address[address.rindex(":") :])

    def severed(self, one: str, other: str) -> bool:
        """Whether nothing passes between these hosts."""
        if not self.groups:
            return self.groups is not None
        return [one in group for group in self.groups] != [other in group for group in self.groups]

    def divide(self, groups: list[frozenset[str]] | None) -> None:
        """Partitions the network, or heals it."""
        self.groups = groups
        for connection in self.connections:
            if self.severed(*connection.hosts):
                connection.hold()
            else:
                connection.release()
        self.changed.unpark_all()


class MemoryTransport(StreamTransport):
    """A network of its own. Contexts that are given the same one reach each other, and nobody else.

    An address is ``name:port``, where the name is any text and the port a number, or ``*`` when binding.
    A connect to ``name:port`` finds the listener of that very text, or else that of ``*:port``.

    The network is perfect unless told otherwise: by the arguments for all of its connections, by `partition` and
    `drop_all` for those that are open, by `MemoryStream.cut`, `MemoryStream.cut_after` and `MemoryStream.vanish` for
    one. Nothing that happens on it depends on the wall clock or on chance. Closing is always in good order here: what
    an end has sent before it was closed arrives, also where tcp would answer unread bytes with a reset.

    Args:
      scheme: the scheme it stands for. With the default, endpoints of the program under test stay as they are.
      buffer: bytes in each direction of a connection, under way or not read yet, before a sender has to wait.
      latency: seconds that a byte takes one way. A connect takes two of them.
      bandwidth: bytes a second in each direction of a connection, each for itself.
      torn: reads and writes are in random pieces, as often of one byte as of half of what there is.
      seed: what the pieces follow from: with the same seed, the n-th read or write of a size on the n-th connection
        between two hosts is torn in the same way.
      on_connect: called with the connecting end of each new connection, before it is accepted and anything is sent.

    Raises:
      ValueError: a number that cannot be.
    """

    def __init__(
        self,
        scheme: str = "tcp",
        *,
        buffer: int = 65536,
        latency: float = 0.0,
        bandwidth: float = math.inf,
        torn: bool = False,
        seed: int = 0,
        on_connect: Callable[[MemoryStream], object] | None = None,
    ) -> None:
        if buffer < 1:
            raise ValueError(f"buffer is at least 1 byte, not {buffer}")
        if not 0 <= latency < math.inf:
            raise ValueError(f"latency is 0 or more seconds, not {latency}; use partition() where nothing arrives")
        if not bandwidth > 0:
            raise ValueError(f"bandwidth is more than 0 bytes a second, or math.inf for no limit, not {bandwidth}")
        self._scheme = scheme
        self._host = ""
        self._net = _Internet(Conditions(buffer, latency, bandwidth, torn, seed), on_connect)

    @property
    def scheme(self) -> str:
        """The scheme it was made for."""
        return self._scheme

    @property
    def connections(self) -> tuple[MemoryStream, ...]:
        """The connecting ends of the connections that are open, oldest first."""
        streams = self._net.streams
        streams[:] = [stream for stream in streams if stream.connected]
        return tuple(streams)

    def drop_all(self) -> int:
        """Cuts every connection, as a network that fails; returns how many. Listeners go on listening."""
        connections = self.connections
        for stream in connections:
            stream.cut()
        return len(connections)

    def host(self, name: str) -> MemoryTransport:
        """The same network, as it is seen from a host of this name: give it to the context that stands for a program there.

        To whom it connects, the program is at this name; and a ``*`` for a name, where it binds or connects, is this host.
        Without it, whoever connects is at ``memory``, and whoever binds is at the name that is connected to.
        """
        host = copy.copy(self)
        host._host = name
        return host

    def partition(self, *groups: str | Iterable[str]) -> None:
        """Parts hosts from each other, as a cable that is pulled: nothing is refused or broken, nothing arrives.

        What is sent waits, until there is no more room, and arrives after `heal`; a connect waits, and fails with
        TimeoutError after 127 seconds. An end gives up as with Linux's tcp, with trio.BrokenResourceError: if what it
        has sent was not answered for 924.6 seconds, or, with ``tcp_keepalive``, after 7875 seconds of silence.

        Args:
          groups: names of hosts, or several names each; hosts of one group reach each other, and so do those in no
            group. Without groups nobody reaches anybody. A later call replaces the earlier one.

        Raises:
          ValueError: a host in two groups.
        """
        parts = [frozenset([group] if isinstance(group, str) else group) for group in groups]
        if len(frozenset[str]().union(*parts)) < sum(map(len, parts)):
            raise ValueError("a host can be in one group only")
        self._net.divide(parts)

    def heal(self) -> None:
        """Ends a partition. What waited arrives now, or after the latency, in order."""
        self._net.divide(None)

    def check(self, address: str, *, bind: bool) -> None:
        """Checks that it is ``name:port``.

        Raises:
          InvalidEndpoint: it is not.
        """
        name, _, port = address.rpartition(":")
        if not name or not ((bind and port == "*") or (port.isascii() and port.isdecimal())):
            raise InvalidEndpoint(
                f"{f'{self._scheme}://{address}'!r} is no endpoint in memory: "
                f"write {self._scheme}://name:5555{' or name:*' if bind else ''}"
            )

    def bind(self, address: str, settings: Settings) -> Listener:
        """Listens there.

        Raises:
          AddressInUse: somebody does already.
          InvalidEndpoint: see `check`.
        """
        self.check(address, bind=True)
        listeners = self._net.listeners
        name, _, port = self._where(address).rpartition(":")
        if port in ("*", "0"):
            port = str(next(n for n in self._net.ports if f"{name}:{n}" not in listeners))
        address = f"{name}:{port}"
        if address in listeners:
            raise AddressInUse(f"cannot bind {self._scheme}://{address}: something is bound there already")
        listener = listeners[address] = _MemoryListener(self._scheme, address, self._host, settings, listeners)
        return listener

    async def connect(self, address: str, settings: Settings, resolved: None = None) -> MemoryStream:
        """Connects; waits while the listener's backlog is full, or nothing passes. A cancellation leaves no connection.

        Raises:
          ConnectionRefusedError: nobody listens there.
          TimeoutError: for 127 seconds nothing came back.
          InvalidEndpoint: see `check`.
        """
        self.check(address, bind=False)
        net, address = self._net, self._where(address)
        name = address.rpartition(":")[0]
        await checkpoint()
        listener = await self._reach(address)
        if listener is not None:
            hosts = (self._host or "memory", listener.host or name)
            keepalive = (settings.tcp_keepalive, listener.keepalive)
            connection = Connection(net.conditions, f"{hosts} {net.numbers[hosts]}", hosts, keepalive)
            ours, theirs = ends(connection, name)
            net.numbers[hosts] += 1
            net.connections[:] = [*(known for known in net.connections if not known.over), connection]
            try:
                if net.on_connect is not None:
                    net.on_connect(ours)
                await listener.offer(theirs)
            except trio.BrokenResourceError:
                connection.lose()  # it has closed meanwhile
            except BaseException:
                connection.lose()
                raise
            else:
                net.streams[:] = [*self.connections, ours]
                return ours
        raise ConnectionRefusedError(
            errno.ECONNREFUSED, f"cannot connect to {self._scheme}://{address}: nobody is bound there"
        )

    def _where(self, address: str) -> str:
        return self._host + address[1:] if self._host and address.startswith("*:") else address

    async def _reach(self, address: str) -> _MemoryListener | None:
        """Who listens there, after a packet went there and another came back."""
        net = self._net
        if net.groups is None and not net.conditions.latency:
            return net.find(address)
        answered = False
        with trio.move_on_after(_SYN_GIVES_UP):
            while True:
                listener = net.find(address)
                there = (listener and listener.host) or address.rpartition(":")[0]
                if net.severed(self._host or "memory", there):
                    answered = False
                    await net.changed.park()
                elif net.conditions.latency and not answered:
                    answered = True
                    await trio.sleep(2 * net.conditions.latency)
                else:
                    return listener
        raise TimeoutError(errno.ETIMEDOUT, f"cannot connect to {self._scheme}://{address}: no answer")

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """The name that was connected to; on the other side the connecting host's, ``memory`` if it has none."""
        assert isinstance(stream, MemoryStream)
        return stream.peer


class _MemoryListener(Listener):
    def __init__(
        self, scheme: str, name: str, host: str, settings: Settings, listeners: dict[str, _MemoryListener]
    ) -> None:
        self.host = host
        self.keepalive = settings.tcp_keepalive
        self._address = f"{scheme}://{name}"
        self._name = name
        self._listeners = listeners
        self._send, self._receive = trio.open_memory_channel[MemoryStream](settings.backlog)

    @property
    def address(self) -> str:
        return self._address

    async def offer(self, stream: MemoryStream) -> None:
        """Puts a connection in line to be accepted."""
        await self._send.send(stream)

    async def accept(self) -> MemoryStream:
        return await self._receive.receive()

    def close(self) -> None:
        if self._listeners.get(self._name) is self:
            del self._listeners[self._name]
        try:
            while True:  # whoever was never accepted is cut off
                self._receive.receive_nowait().cut()
        except (trio.WouldBlock, trio.ClosedResourceError):
            pass
        self._receive.close()
