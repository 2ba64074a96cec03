"""Notices: messages that a socket says to each new peer, or gets itself when one is lost (libzmq's drafts).

A hello goes over the connection, before all else. What is told of a loss is local: it comes behind what the peer had
sent, as if the peer had said it last. Who ended the connection here need not be told.
"""

from __future__ import annotations

from .._options import Option, frame
from .._remote import Remote
from ._socket import Socket

__all__ = ["Greeting", "HiccupTold", "LossTold"]


class Greeting(Socket):
    """Greets each new peer."""

    hello_message: Option[bytes] = Option(
        b"", frame, "What is sent first on each new connection, one frame; empty for nothing (ZMQ_HELLO_MSG)."
    )

    def _linked(self, remote: Remote) -> None:
        super()._linked(remote)
        if self.hello_message and self._can_be_greeted(remote):
            remote.outbox.put_first(self.hello_message)

    def _can_be_greeted(self, remote: Remote) -> bool:
        return True


class LossTold(Socket):
    """Is told of the loss of a peer that had come to a bound endpoint."""

    disconnect_message: Option[bytes] = Option(
        b"",
        frame,
        "What is received when a peer is lost that had come to a bound endpoint, as if it had sent this last; empty for "
        "nothing (ZMQ_DISCONNECT_MSG).",
    )

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        if self.disconnect_message and not remote.dialled and not remote.outbox.ended:
            remote.inbox.put(self.disconnect_message)


class HiccupTold(Socket):
    """Is told of the loss of a connection that it had made."""

    hiccup_message: Option[bytes] = Option(
        b"",
        frame,
        "What is received when the connection to an endpoint is lost, as if the peer had sent this last; empty for nothing "
        "(ZMQ_HICCUP_MSG).",
    )

    def _unlinked(self, remote: Remote) -> None:
        super()._unlinked(remote)
        if self.hiccup_message and remote.dialled and not remote.outbox.ended:
            remote.inbox.put(self.hiccup_message)
