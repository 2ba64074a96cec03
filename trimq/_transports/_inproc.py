"""inproc: names within one context, where sockets of the context find each other.

Here is only who belongs together; the messages go through the sockets' own pipes.
"""

from __future__ import annotations

from .._abc import JoinTransport, Site
from .._errors import AddressInUse, InvalidEndpoint

__all__ = ["InprocTransport"]

_LONGEST = 256  # characters, zmq_inproc(7)


class InprocTransport(JoinTransport):
    """Peers in the same context, by name. Binding and connecting may come in either order.

    Each context has one of its own: a name means nothing outside its context.
    """

    def __init__(self) -> None:
        self._binders: dict[str, Site] = {}
        self._waiting: dict[str, list[Site]] = {}  # connectors of a name that nobody has bound, in order

    @property
    def scheme(self) -> str:
        """``inproc``."""
        return "inproc"

    def check(self, address: str, *, bind: bool) -> None:
        """Any name of 1 to 256 characters will do.

        Raises:
          InvalidEndpoint: it is empty or longer.
        """
        if not 1 <= len(address) <= _LONGEST:
            raise InvalidEndpoint(
                f"an inproc name has 1 to {_LONGEST} characters, and this one has {len(address)}; write inproc://name"
            )

    def bind(self, address: str, site: Site) -> None:
        """Takes the name, and meets all who wait for it, in the order they came.

        Raises:
          AddressInUse: the name is bound in this context.
        """
        if address in self._binders:
            raise AddressInUse(
                f"inproc://{address} is bound already in this context; choose another name, or close that endpoint"
            )
        self._binders[address] = site
        for connector in self._waiting.pop(address, ()):
            site.meet(connector)

    def connect(self, address: str, site: Site) -> None:
        """Meets the binder of the name, now or when there is one."""
        binder = self._binders.get(address)
        if binder is None:
            self._waiting.setdefault(address, []).append(site)
        else:
            binder.meet(site)

    def release(self, address: str, site: Site) -> None:
        """The site no longer binds the name, or no longer waits for it. What is joined stays so. Idempotent."""
        if self._binders.get(address) is site:
            del self._binders[address]
            return
        # By identity: what equality means is the site's own business.
        waiting = [other for other in self._waiting.get(address, ()) if other is not site]
        if waiting:
            self._waiting[address] = waiting
        else:
            self._waiting.pop(address, None)
