"""Compositions that several types share: balanced sending, fair receiving, routing ids."""

from __future__ import annotations

from collections.abc import Iterator

from .._message import Body, MessageLike
from .._options import Option, boolean, identity
from .._remote import Remote
from .._routing import FairQueue, RoundRobin
from ._flow import Receiving, Sending, SendingMany
from ._socket import Socket

__all__ = ["Balanced", "Balancing", "FairQueued", "Identified"]


class Balancing(Sending):
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


class Balanced(Balancing, SendingMany):
    """Sends round-robin; waits while no peer has room."""

    def _prepare(self) -> None:
        super()._prepare()
        self._offer = self._balancer.offer
        self._room = self._balancer.room

    def _put_all(self, bodies: list[Body]) -> None:
        self._balancer.put_all(bodies)

    def _offer_many(self, values: Iterator[MessageLike], limit: int) -> int:
        return self._balancer.offer_many(values, limit)


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
        if self.probe_router:
            remote.outbox.put_first(b"")


class FairQueued(Receiving):
    """Receives from each peer in turn."""

    def _prepare(self) -> None:
        super()._prepare()
        self._fair = FairQueue()
        self._take = self._fair.take
        self._take_many = self._fair.take_many
        self._receivable = self._fair.ready

    def _arrived(self, remote: Remote) -> None:
        self._fair.activate(remote)
        self._serve_receivers()
