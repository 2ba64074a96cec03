"""Statistics: what went through a peer's queues, a socket, a context. Plain values, and the sum of those that are gone.

Nothing is counted here: queues count as they go, a message costs one addition, and this reads what they say.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ._abc import PeerInfo
from ._remote import Remote

__all__ = ["ContextStatistics", "ContextTally", "PeerStatistics", "SocketStatistics", "Tally", "Traffic"]


@attrs.frozen(kw_only=True)
class Traffic:
    """Messages and bytes, counted from the beginning. A subscription on its way counts as a message.

    ``sent == written + queued + in_doubt + unsent``: every message is in one of these.
    """

    sent: int = 0
    """Messages that were queued for peers; for Pub and the like, once for each peer."""
    written: int = 0
    """Of these, how many were handed to the system whole; over inproc, to the peer's queue."""
    queued: int = 0
    """Of these, how many wait."""
    in_doubt: int = 0
    """Of these, how many were in the one write that failed when a connection ended: they may have arrived."""
    unsent: int = 0
    """Of these, how many were dropped unsent: when the socket closed, or with the peer they were for."""
    dropped: int = 0
    """Messages dropped because the pattern or an option says so: no room, replaced by a later one, malformed."""
    lost: int = 0
    """Packets of reliable multicast that were never had, nor a repair: messages that had a part in them are missing."""
    received: int = 0
    """Messages that came from peers, as far as they were subscribed to."""
    waiting: int = 0
    """Of these, how many have not been received by the program yet."""
    bytes_written: int = 0
    """Bytes written to connections, framing included, handshakes not. None over inproc."""
    bytes_received: int = 0
    """Bytes read from connections, in the same way."""


@attrs.frozen(kw_only=True)
class PeerStatistics(Traffic):
    """What went to and from one peer, or to an endpoint that waits for its peer, over all its connections."""

    endpoint: str
    """The endpoint, as connected to; ``a peer of ...`` where the peer came to a bound one."""
    peer: PeerInfo | None = None
    """Who it is, or was last; None if there was never a connection."""
    connected: bool = False
    """Whether there is a connection now, its handshake complete."""


@attrs.frozen(kw_only=True)
class SocketStatistics(Traffic):
    """What went through a socket, peers that are gone included. After a close it says what became of everything."""

    socket_type: str
    """As ``"DEALER"``."""
    unroutable: int = 0
    """Messages that no peer could have, and that were dropped: no such routing id, no peer at all. Not in ``sent``."""
    connections: int = 0
    """Handshakes completed so far."""
    losses: int = 0
    """Connections that ended otherwise than from here."""
    handshake_failures: int = 0
    """Handshakes that failed."""
    refused: int = 0
    """Connections that a filter or a limit turned away before their handshake."""
    topics: int = 0
    """Distinct topics that are subscribed to now (ZMQ_TOPICS_COUNT)."""
    peers: tuple[PeerStatistics, ...] = ()
    """The peers there are, and the endpoints that wait for theirs."""


@attrs.frozen(kw_only=True)
class ContextStatistics(Traffic):
    """What went through all sockets of a context, closed ones included."""

    unroutable: int = 0
    """As in `SocketStatistics`."""
    connections: int = 0
    """As in `SocketStatistics`."""
    losses: int = 0
    """As in `SocketStatistics`."""
    handshake_failures: int = 0
    """As in `SocketStatistics`."""
    refused: int = 0
    """As in `SocketStatistics`."""
    sockets: tuple[SocketStatistics, ...] = ()
    """The sockets that are open, or still have something to write."""


_COUNTS = [field.name for field in attrs.fields(Traffic)]
_SUMS = [*_COUNTS, "unroutable", "connections", "losses", "handshake_failures", "refused"]


def _counts(remote: Remote) -> dict[str, int]:
    inbox, outbox = remote.inbox, remote.outbox
    inbox.lent_takes()
    outbox.lent_takes()
    sent = outbox.put_ever
    queued = 0 if remote.partner is not None else len(outbox)
    waiting = len(inbox)
    return {
        "sent": sent,
        "written": sent - queued - remote.in_doubt - remote.unsent,
        "queued": queued,
        "in_doubt": remote.in_doubt,
        "unsent": remote.unsent,
        "dropped": remote.dropped,
        "lost": remote.lost,
        "received": inbox.put_ever,
        "waiting": waiting,
        "bytes_written": outbox.bytes,
        "bytes_received": inbox.bytes,
    }


class Tally:
    """The sum over a socket's peers, those that are gone included."""

    __slots__ = ("_past", "connections", "handshake_failures", "losses", "refused", "unroutable")

    def __init__(self) -> None:
        self._past = dict.fromkeys(_COUNTS, 0)
        self.connections: int = 0
        self.losses: int = 0
        self.handshake_failures: int = 0
        self.refused: int = 0
        self.unroutable: int = 0

    def retire(self, remote: Remote) -> None:
        """The peer is gone; what came from it may still wait."""
        for name, count in _counts(remote).items():
            self._past[name] += count
        self._past["waiting"] = 0

    def late(self, count: int) -> None:
        """Messages were dropped for a peer that is gone already."""
        self._past["dropped"] += count

    def of_socket(
        self, socket_type: str, present: Iterable[Remote], gone: Iterable[Remote], topics: int
    ) -> SocketStatistics:
        """What there is to say of the socket now.

        Args:
          present: its peers.
          gone: those from whom something may still wait.
        """
        peers = [
            PeerStatistics(
                endpoint=remote.where,
                peer=remote.info or remote.last_info,
                connected=remote.info is not None,
                **_counts(remote),
            )
            for remote in present
        ]
        sums = {name: self._past[name] + sum(getattr(peer, name) for peer in peers) for name in _COUNTS}
        sums["waiting"] += sum(len(remote.inbox) for remote in gone)
        return SocketStatistics(
            socket_type=socket_type,
            unroutable=self.unroutable,
            connections=self.connections,
            losses=self.losses,
            handshake_failures=self.handshake_failures,
            refused=self.refused,
            topics=topics,
            peers=tuple(peers),
            **sums,
        )


class ContextTally:
    """The sum over a context's sockets, those that are gone included."""

    __slots__ = ("_past",)

    def __init__(self) -> None:
        self._past = dict.fromkeys(_SUMS, 0)

    def retire(self, socket: SocketStatistics) -> None:
        """The socket is gone."""
        for name in _SUMS:
            self._past[name] += getattr(socket, name)

    def of_context(self, sockets: Iterable[SocketStatistics]) -> ContextStatistics:
        """What there is to say now, with these sockets that are still there."""
        present = tuple(sockets)
        sums = {name: self._past[name] + sum(getattr(socket, name) for socket in present) for name in _SUMS}
        return ContextStatistics(sockets=present, **sums)
