"""libzmq's tests of XPub and XSub, test_xpub_*, test_xsub_verbose and test_sub_forward, on both implementations."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.both import Side

streams = pytest.mark.parametrize("transport", ["inproc", "tcp"])


async def test_sub_forward(side: Side) -> None:
    """A device made by hand: a subscription read from the XPub is sent by the XSub; an empty publication passes."""
    pub, sub = await side.socket("PUB"), await side.socket("SUB")
    xpub, xsub = await side.socket("XPUB"), await side.socket("XSUB")
    await sub.subscribe(b"")
    await side.join("tcp", xpub, sub)
    await side.join("tcp", pub, xsub)
    await xsub.send(await xpub.receive())
    # Pub does not say when it knows: so it publishes until it is heard
    passed = None
    while passed is None:
        await pub.send(b"")
        passed = await side.within(xsub, 0.01)
    assert passed == [b""]
    await xpub.send(passed)
    assert await sub.receive() == [b""]


@streams
async def test_xpub_manual(side: Side, transport: str) -> None:
    """What is asked for is only told; what the user subscribes to in its place is what counts."""
    xpub, xsub = await side.socket("XPUB", manual=True), await side.socket("XSUB")
    await side.join(transport, xpub, xsub)
    await xsub.send(b"\1A")
    assert await xpub.receive() == [b"\1A"]
    await xpub.subscribe(b"B")
    await xpub.send(b"A")
    await xpub.send(b"B")
    assert await xsub.receive() == [b"B"]
    await side.nothing(xsub)


@streams
async def test_xpub_manual_unsubscribe(side: Side, transport: str) -> None:
    """Two topics are rewritten, one is taken back; when the subscriber leaves, the other is told, as it was asked for."""
    xpub, xsub = await side.socket("XPUB", manual=True), await side.socket("XSUB")
    await side.join(transport, xpub, xsub)
    for topic in (b"A", b"B"):
        await xsub.send(b"\1" + topic)
        assert await xpub.receive() == [b"\1" + topic]
        await xpub.subscribe(b"X" + topic)
    for topic in (b"A", b"XA", b"B", b"XB"):
        await xpub.send(topic)
    assert [await xsub.receive() for _ in range(2)] == [[b"XA"], [b"XB"]]
    await xsub.send(b"\0A")
    assert await xpub.receive() == [b"\0A"]
    await xpub.unsubscribe(b"XA")
    await xpub.send(b"XA")
    await xpub.send(b"XB")
    assert await xsub.receive() == [b"XB"]
    await xsub.close()
    assert await xpub.receive() == [b"\0B"]
    await side.nothing(xpub)
    await xpub.unsubscribe(b"XB")  # of one who has left: nothing, and no error


async def test_xpub_manual_in_a_proxy(side: Side) -> None:
    """Two Subs of one topic behind a device made by hand: both get what is published, and when both have left it is over."""
    pub, xsub = await side.socket("XPUB"), await side.socket("XSUB")
    xpub = await side.socket("XPUB", manual=True)
    await side.join("tcp", pub, xsub)
    first, second = await side.socket("SUB"), await side.socket("SUB")
    place = await side.join("tcp", xpub)
    for sub in (first, second):
        await sub.subscribe(b"1")
        await sub.connect(place)
        assert await xpub.receive() == [b"\x011"]
        await xpub.subscribe(b"1")
        await xsub.send(b"\x011")
    assert await pub.receive() == [b"\x011"]
    await pub.send([b"1", b"text"])
    await xpub.send(await xsub.receive())
    for sub in (first, second):
        assert await sub.receive() == [b"1", b"text"]
    for sub in (first, second):
        await sub.close()
        assert await xpub.receive() == [b"\x001"]
        await xpub.unsubscribe(b"1")
        await xsub.send(b"\x001")
    assert await pub.receive() == [b"\x001"]
    await pub.send([b"1", b"nobody wants it"])
    await side.nothing(xsub, xpub)


@streams
async def test_xpub_manual_two_topics(side: Side, transport: str) -> None:
    """Each subscription by hand is for the subscriber whose message was received last."""
    xpub = await side.socket("XPUB", manual=True)
    subs = [await side.socket("SUB") for _ in range(2)]
    await side.join(transport, xpub, *subs)
    for number, sub in enumerate(subs):
        await sub.subscribe(b"topic%d" % number)
        assert await xpub.receive() == [b"\1topic%d" % number]
        await xpub.subscribe(b"topic%d" % number)
    for number in (0, 1):
        await xpub.send(b"topic%d" % number)
    for number, sub in enumerate(subs):
        assert await sub.receive() == [b"topic%d" % number]
    await side.nothing(*subs)


@streams
async def test_xpub_manual_user_message(side: Side, transport: str) -> None:
    """What an XSub sends that is no subscription comes as it is."""
    xpub, xsub = await side.socket("XPUB", manual=True), await side.socket("XSUB")
    await side.join(transport, xpub, xsub)
    await xsub.send(b"\2A")
    assert await xpub.receive() == [b"\2A"]


@streams
async def test_xpub_manual_only_first_subscribe(side: Side, transport: str) -> None:
    """With the option at both ends only a message's first frame can be a subscription; the others come as they are."""
    xpub = await side.socket("XPUB", manual=True, only_first_subscribe=True)
    xsub = await side.socket("XSUB", only_first_subscribe=True)
    await side.join(transport, xpub, xsub)
    for message in ([b"ABC", b"\0BC"], [b"ABC", b"\1BC"]):
        await xsub.send(message)
        assert await frames(xpub, 2) == message
    for message in ([b"\1BC", b"\1CD"], [b"\0BC", b"\0CD"]):
        await xsub.send(message)
        assert await frames(xpub, 2) == message


async def frames(socket: Any, count: int) -> list[bytes]:
    """So many frames, of one message or of several."""
    got: list[bytes] = []
    while len(got) < count:
        got += await socket.receive()
    return got


@streams
async def test_xpub_manual_last_value(side: Side, transport: str) -> None:
    """The first message after a subscription is only for who has subscribed; the next one is for all."""
    xpub = await side.socket("XPUB", manual=True, manual_last_value=True)
    first, second = await side.socket("SUB"), await side.socket("SUB")
    await side.join(transport, xpub, first, second)
    await first.subscribe(b"A")
    assert await xpub.receive() == [b"\1A"]
    await xpub.subscribe(b"A")
    await xpub.send([b"A", b"0"])
    assert await first.receive() == [b"A", b"0"]
    await second.subscribe(b"A")
    assert await xpub.receive() == [b"\1A"]
    await xpub.subscribe(b"A")
    await xpub.send([b"A", b"1"])
    await xpub.send([b"A", b"2"])
    assert [await second.receive() for _ in range(2)] == [[b"A", b"1"], [b"A", b"2"]]
    assert await first.receive() == [b"A", b"2"]
    await side.nothing(first, second)


@streams
async def test_xpub_manual_last_value_of_two_topics(side: Side, transport: str) -> None:
    """The first message is not even for others who want its topic, if the last subscriber does not."""
    xpub = await side.socket("XPUB", manual=True, manual_last_value=True)
    subs = [await side.socket("SUB") for _ in range(2)]
    await side.join(transport, xpub, *subs)
    for number, sub in enumerate(subs):
        await sub.subscribe(b"topic%d" % number)
        assert await xpub.receive() == [b"\1topic%d" % number]
        await xpub.subscribe(b"topic%d" % number)
    for number in (0, 1, 0):
        await xpub.send([b"topic%d" % number, b"of %d" % number])
    assert await subs[1].receive() == [b"topic1", b"of 1"]
    assert await subs[0].receive() == [b"topic0", b"of 0"]
    await side.nothing(*subs)


async def test_xpub_nodrop(side: Side) -> None:
    """With the option all that is sent arrives; where there is no room it is refused."""
    xpub, sub = await side.socket("XPUB", nodrop=True, send_hwm=2000), await side.socket("SUB")
    await side.join("inproc", xpub, sub)
    await sub.subscribe(b"")
    assert await xpub.receive() == [b"\1"]
    assert await side.fill(xpub, 1999) == 1999
    assert [await sub.receive() for _ in range(1999)] == [[b"%d" % number] for number in range(1999)]
    sent = await side.fill(xpub, 10_000)
    assert 2000 <= sent <= 3000
    assert await side.refused(xpub, b"too many") == "EAGAIN"
    assert [await sub.receive() for _ in range(sent)] == [[b"%d" % number] for number in range(sent)]
    await side.nothing(sub)


@pytest.mark.parametrize("length", [0, 1, 245, 246, 255, 256])
async def test_xpub_topic(side: Side, length: int) -> None:
    """Topics around the length where a command needs a long frame come whole, subscribed and unsubscribed."""
    xpub, sub = await side.socket("XPUB"), await side.socket("SUB")
    await side.join("tcp", xpub, sub)
    topic = b"t" * length
    await sub.subscribe(topic)
    assert await xpub.receive() == [b"\1" + topic]
    await sub.unsubscribe(topic)
    assert await xpub.receive() == [b"\0" + topic]


async def test_xpub_verbose(side: Side) -> None:
    """A topic's first subscription is told, by default; with VERBOSE each of every subscriber."""
    xpub, first, second = await side.socket("XPUB"), await side.socket("SUB"), await side.socket("SUB")
    await side.join("inproc", xpub, first, second)
    await first.subscribe(b"A")
    assert await xpub.receive() == [b"\1A"]
    await first.subscribe(b"A")
    await second.subscribe(b"A")
    await side.nothing(xpub)
    await xpub.set("verbose", True)
    await second.subscribe(b"A")
    assert await xpub.receive() == [b"\1A"]
    await xpub.send([b"A", b"text"])
    for sub in (first, second):
        assert await sub.receive() == [b"A", b"text"]


async def test_xpub_verbose_one_subscriber(side: Side) -> None:
    """The end of what was not subscribed to is nothing; what was subscribed to twice ends with its second end."""
    xpub, sub = await side.socket("XPUB"), await side.socket("SUB")
    await side.join("inproc", xpub, sub)
    await sub.unsubscribe(b"A")
    await sub.subscribe(b"A")
    await sub.subscribe(b"A")
    assert await xpub.receive() == [b"\1A"]
    await sub.unsubscribe(b"A")
    await side.nothing(xpub)
    await xpub.send(b"A")
    assert await sub.receive() == [b"A"]
    await sub.unsubscribe(b"A")
    assert await xpub.receive() == [b"\0A"]
    await xpub.send(b"A")
    await side.nothing(sub, xpub)


async def test_xpub_verbose_two_subscribers(side: Side) -> None:
    """With two subscribers only the last one's end is told, by default; with VERBOSER each one's."""
    for verboser, begins, ends in ((False, 1, 1), (True, 2, 2)):
        xpub, first, second = await side.socket("XPUB"), await side.socket("SUB"), await side.socket("SUB")
        await xpub.set("verboser", verboser)
        await side.join("inproc", xpub, first, second)
        for verb, word, count in (("subscribe", b"\1A", begins), ("unsubscribe", b"\0A", ends)):
            await getattr(first, verb)(b"A")
            await getattr(second, verb)(b"A")
            assert [await xpub.receive() for _ in range(count)] == [[word]] * count
            await side.nothing(xpub)
        await second.unsubscribe(b"A")
        await side.nothing(xpub)


@streams
async def test_xpub_welcome_msg(side: Side, transport: str) -> None:
    """Who subscribes to it gets the welcome message, which nobody sends."""
    xpub, sub = await side.socket("XPUB", welcome_message=b"W"), await side.socket("SUB")
    await sub.subscribe(b"W")
    await side.join(transport, xpub, sub)
    assert await xpub.receive() == [b"\1W"]
    assert await sub.receive() == [b"W"]


async def test_xsub_verbose(side: Side) -> None:
    """An XSub sends each subscription, and of the ends only a topic's last; with the option every end."""
    xpub, xsub = await side.socket("XPUB", verboser=True), await side.socket("XSUB")
    await side.join("inproc", xpub, xsub)
    await xsub.unsubscribe(b"A")
    await side.nothing(xpub)
    for _ in range(2):
        await xsub.subscribe(b"A")
        assert await xpub.receive() == [b"\1A"]
    await xsub.unsubscribe(b"A")
    await side.nothing(xpub)
    await xsub.unsubscribe(b"A")
    assert await xpub.receive() == [b"\0A"]
    if not side.is_trimq:
        return  # there the option belongs to the draft interface, which pyzmq's libzmq was built without
    await xsub.set("verbose_unsubscribe", True)
    for _ in range(2):
        await xsub.unsubscribe(b"A")
        assert await xpub.receive() == [b"\0A"]
    for _ in range(2):
        await xsub.subscribe(b"A")
        assert await xpub.receive() == [b"\1A"]
    for _ in range(3):
        await xsub.unsubscribe(b"A")
        assert await xpub.receive() == [b"\0A"]
