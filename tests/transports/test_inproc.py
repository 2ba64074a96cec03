"""inproc: libzmq.md 3.3."""

from __future__ import annotations

import errno

import pytest

from trimq._abc import Site
from trimq._errors import AddressInUse, InvalidEndpoint
from trimq._transports._inproc import InprocTransport


class Noting(Site):
    """Notes whom it met. All are equal, since what equality means is a site's own business."""

    def __init__(self) -> None:
        self.met: list[Site] = []

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def meet(self, connector: Site) -> None:
        self.met.append(connector)

    def has_met(self, *sites: Site) -> bool:
        return [id(site) for site in self.met] == [id(site) for site in sites]


def test_connect_after_bind() -> None:
    """A connector meets the binder at once; each connect is a connection of its own (design 2)."""
    inproc = InprocTransport()
    binder, one, two = Noting(), Noting(), Noting()
    inproc.bind("a", binder)
    inproc.connect("a", one)
    inproc.connect("a", two)
    inproc.connect("a", one)
    assert binder.has_met(one, two, one)
    assert one.met == two.met == []


def test_connect_before_bind() -> None:
    """zmq_connect(3): the order of bind and connect does not matter; who waited is met in order."""
    inproc = InprocTransport()
    binder, one, two, other = Noting(), Noting(), Noting(), Noting()
    inproc.connect("a", one)
    inproc.connect("b", other)
    inproc.connect("a", two)
    inproc.bind("a", binder)
    assert binder.has_met(one, two)
    inproc.connect("a", other)
    assert binder.has_met(one, two, other)


def test_met_only_once() -> None:
    """Whoever has met a binder does not wait for the next one: no reconnects in inproc (3.3)."""
    inproc = InprocTransport()
    first, second, one = Noting(), Noting(), Noting()
    inproc.connect("a", one)
    inproc.bind("a", first)
    inproc.release("a", first)
    inproc.bind("a", second)
    assert first.has_met(one)
    assert second.has_met()


def test_name_in_use() -> None:
    """A second bind of a name is EADDRINUSE (3.3), and changes nothing."""
    inproc = InprocTransport()
    binder, second, one = Noting(), Noting(), Noting()
    inproc.bind("a", binder)
    with pytest.raises(AddressInUse, match="inproc://a is bound already") as caught:
        inproc.bind("a", second)
    assert caught.value.errno == errno.EADDRINUSE
    inproc.release("a", second)  # it never had the name, and does not take it from the first
    inproc.connect("a", one)
    assert binder.has_met(one)
    assert second.has_met()


def test_release_frees_the_name() -> None:
    """A name is free again after unbind (3.3); release is idempotent."""
    inproc = InprocTransport()
    first, second, one = Noting(), Noting(), Noting()
    inproc.bind("a", first)
    inproc.release("a", first)
    inproc.release("a", first)
    inproc.connect("a", one)
    inproc.bind("a", second)
    assert first.has_met()
    assert second.has_met(one)


def test_release_of_one_who_waits() -> None:
    """A connector that no longer waits is not met, the others are; release of a stranger is nothing."""
    inproc = InprocTransport()
    binder, one, two = Noting(), Noting(), Noting()
    inproc.connect("a", one)
    inproc.connect("a", two)
    inproc.release("a", one)
    inproc.release("a", one)
    inproc.release("b", one)
    inproc.bind("a", binder)
    assert binder.has_met(two)


def test_names_belong_to_one_context() -> None:
    """One transport per context: a name means nothing in another (3.3)."""
    one, other = InprocTransport(), InprocTransport()
    binder, connector = Noting(), Noting()
    one.bind("a", binder)
    other.bind("a", Noting())
    other.connect("a", connector)
    assert binder.has_met()


def test_nothing_is_kept() -> None:
    """Names that come and go leave nothing behind."""
    inproc = InprocTransport()
    binder, connector = Noting(), Noting()
    for n in range(3):
        inproc.connect(f"a{n}", connector)
        inproc.release(f"a{n}", connector)
        inproc.connect(f"b{n}", connector)
        inproc.bind(f"b{n}", binder)
        inproc.release(f"b{n}", binder)
    assert not inproc._binders
    assert not inproc._waiting


@pytest.mark.parametrize("name", ["a", "*", "a b", "my_publisher", "x" * 256, "\u00e9"])
@pytest.mark.parametrize("bind", [True, False])
def test_names(name: str, bind: bool) -> None:
    """Any non-empty name (3.3), up to 256 characters (zmq_inproc(7))."""
    InprocTransport().check(name, bind=bind)


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_names_refused(name: str) -> None:
    """EINVAL, with the limit and an example."""
    with pytest.raises(InvalidEndpoint, match=f"1 to 256 characters, and this one has {len(name)}; write inproc://"):
        InprocTransport().check(name, bind=True)


def test_dial_address() -> None:
    """A name is what it is."""
    assert InprocTransport().dial_address("*") == "*"
    assert InprocTransport().scheme == "inproc"
