"""The contract of transports that join sockets of one context (`trimq.abc.JoinTransport`), as a check; it is sans-I/O."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .._abc import JoinTransport, Site
from .._context import open_context
from .._errors import AddressInUse
from .._sockets._pipeline import Pull, Push
from .._sockets._request_reply import Rep, Req
from ._clauses import clause, raises

__all__ = ["check_join_transport", "converse", "exchange"]


async def check_join_transport(make_transport: Callable[[], JoinTransport], address: str) -> None:
    """Checks a transport that joins sockets of one context.

    Args:
      make_transport: makes the transport; each clause has one of its own.
      address: a name to bind and to connect to (what stands after ``://``).

    Raises:
      AssertionError: a clause of the contract is broken; the message says which.
    """
    with clause("check accepts the address for both verbs, and the scheme is a name"):
        transport = make_transport()
        assert transport.scheme, "it is empty"
        for bind in (True, False):
            transport.check(address, bind=bind)
    with clause("who connects meets the binder, whichever comes first, in order and once"):
        for early in (0, 1, 3):
            transport, binder, sites = make_transport(), _Site(), [_Site() for _ in range(3)]
            for site in sites[:early]:
                transport.connect(address, site)
            assert not binder.met, "they met before anybody had bound the name"
            transport.bind(address, binder)
            for site in sites[early:]:
                transport.connect(address, site)
            assert binder.met == sites, f"{len(binder.met)} of 3 met, or in another order"
    with clause("a name that is taken is an AddressInUse, and its binder stays"):
        with raises(AddressInUse):
            transport.bind(address, _Site())
        late = _Site()
        transport.connect(address, late)
        assert binder.met[-1] is late, "the first binder lost the name"
    with clause("release frees the name at once, and is idempotent"):
        for _ in range(2):
            transport.release(address, binder)
        other, count = _Site(), len(binder.met)
        transport.bind(address, other)
        transport.release(address, binder)
        transport.connect(address, late)
        assert other.met == [late], "the new binder is not met"
        assert len(binder.met) == count, "the old binder is met"
    with clause("who has been released while waiting meets nobody"):
        transport, binder, gone, stays = make_transport(), _Site(), _Site(), _Site()
        transport.connect(address, gone)
        transport.connect(address, stays)
        transport.release(address, gone)
        transport.bind(address, binder)
        assert binder.met == [stays], "it was met, or another was not"
    with clause("sockets over the transport exchange messages, PUSH to PULL and REQ to REP"):
        transport = make_transport()
        where = f"{transport.scheme}://{address}"
        async with open_context(transports=[transport], linger=0) as context:
            pull, push = context.socket(Pull), context.socket(Push)
            rep, req = context.socket(Rep), context.socket(Req)
            push.connect(where)
            pull.bind(where)
            await exchange(push, pull)
            pull.close()
            rep.bind(where)
            req.connect(where)
            await converse(req, rep)


class _Site(Site):
    def __init__(self) -> None:
        self.met: list[Site] = []

    def meet(self, connector: Site) -> None:
        self.met.append(connector)


async def exchange(push: Push, pull: Pull) -> None:
    """Messages of many sizes, one way."""
    messages = [[b"%d" % n, bytes(n)] for n in (*range(300), 100_000, 1_000_000)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(push.send_many, messages)
        for message in messages:
            got = await pull.receive()
            assert got == message, f"{got!r:.40} arrived in the place of {message!r:.40}"


async def converse(req: Req, rep: Rep) -> None:
    """Requests and replies."""
    for n in range(10):
        await req.send(b"%d" % n)
        assert await rep.receive() == [b"%d" % n]
        await rep.send([b"re", b"%d" % n])
        assert await req.receive() == [b"re", b"%d" % n]
