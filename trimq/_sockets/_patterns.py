"""Compositions that several types share: balanced sending and fair receiving."""

from __future__ import annotations

from collections.abc import Iterator

from .._message import MessageLike
from .._remote import Remote
from .._routing import FairQueue, RoundRobin
from ._flow import Receiving, SendingMany

__all__ = ["Balanced", "FairQueued"]


class Balanced(SendingMany):
    """Sends round-robin; waits while no peer has room."""

    def _prepare(self) -> None:
        super()._prepare()
        self._balancer = RoundRobin()
        self._offer = self._balancer.offer
        self._room = self._balancer.room

    def _offer_many(self, values: Iterator[MessageLike], limit: int) -> int:
        return self._balancer.offer_many(values, limit)

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
