"""The connector of datagrams, where it opens a port: it backs off, and gives up, as dialers do (tests/test_dialer.py)."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trimq
from trimq import EndpointState
from trimq.abc import DatagramPort, DatagramTransport, Settings


class Nowhere(DatagramPort):
    """A port that takes everything, and hears nothing."""

    address = "udp://nowhere:1"

    def send_now(self, data: bytes, to: str) -> bool:
        return True

    def receive_now(self, max_size: int) -> None:
        return None

    async def wait_sendable(self) -> None:
        raise NotImplementedError

    async def wait_receivable(self) -> None:
        await trio.sleep_forever()

    def close(self) -> None:
        pass


class Opening(DatagramTransport):
    """Each attempt to open a port takes the next of these errors, waits for ever where it is None, or opens one at last."""

    scheme = "udp"

    def __init__(self, *errors: OSError | None, last: OSError | None = None) -> None:
        self.errors = deque(errors)
        self.last = last
        self.attempts: list[float] = []

    def check(self, address: str, *, bind: bool) -> None:
        pass

    def bind(self, address: str, settings: Settings) -> DatagramPort:
        raise NotImplementedError

    async def connect(self, address: str, settings: Settings) -> DatagramPort:
        self.attempts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.errors:
            error = self.errors.popleft()
            if error is None:
                await trio.sleep_forever()
            raise error
        if self.last is not None:
            raise self.last
        return Nowhere()

    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.attempts, self.attempts[1:], strict=False)]


UNKNOWN = OSError("nobody knows this name")


async def given_up(transport: Opening, **options: Any) -> OSError:
    """Connects a Radio whose endpoint is lost in the end; gives the cause. Nobody dials again, and events tell."""
    async with trimq.open_context(transports=[transport], linger=0) as context:
        radio = context.socket(trimq.Radio, **options)
        async with radio.events() as events:
            endpoint = radio.connect("udp://nowhere:1")
            with pytest.raises(OSError) as caught, trio.fail_after(1000):
                await endpoint.ready()
            assert endpoint.state is EndpointState.LOST
            assert radio.endpoints == ()
            async for event in events:
                if isinstance(event, trimq.events.GaveUp):
                    assert event.cause is caught.value
                    break
        attempts = len(transport.attempts)
        await trio.sleep(1000)
        assert len(transport.attempts) == attempts
    return caught.value


async def test_backs_off_with_jitter(autojump_clock: MockClock) -> None:
    """Design 2: pauses double from reconnect_interval to reconnect_interval_max, with jitter, until a port is open."""
    transport = Opening(*[UNKNOWN] * 15)
    async with trimq.open_context(transports=[transport], linger=0) as context:
        endpoint = context.socket(trimq.Radio).connect("udp://nowhere:1")
        with trio.fail_after(1000):
            await endpoint.ready()
    pauses = transport.pauses()
    assert len(pauses) >= 14
    for n, pause in enumerate(pauses):
        longest = min(0.1 * 2**n, 5.0)
        assert longest / 2 - 1e-9 <= pause <= longest + 1e-9
    assert len({round(pause, 6) for pause in pauses[6:]}) > 1  # no two are alike


async def test_gives_up_after(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """give_up_after counts from connect on, and the last cause is told."""
    transport = Opening(last=UNKNOWN)
    with caplog.at_level(logging.WARNING, "trimq"):
        assert await given_up(transport, give_up_after=10.0) is UNKNOWN
    assert len(transport.attempts) > 3
    assert transport.attempts[-1] - transport.attempts[0] <= 10
    assert "given up: nobody knows this name" in caplog.text


async def test_no_other_attempt_is_wanted(autojump_clock: MockClock) -> None:
    """reconnect_interval=math.inf: one attempt, as with dialers."""
    transport = Opening(last=UNKNOWN)
    assert await given_up(transport, reconnect_interval=math.inf) is UNKNOWN
    assert len(transport.attempts) == 1


async def test_stops_where_nobody_listens(autojump_clock: MockClock) -> None:
    """ZMQ_RECONNECT_STOP_CONN_REFUSED, for a transport that hears of it; other failures are tried again."""
    refused = ConnectionRefusedError("nobody is there")
    transport = Opening(UNKNOWN, refused, last=UNKNOWN)
    assert await given_up(transport, reconnect_stop={"refused"}) is refused
    assert len(transport.attempts) == 2


async def test_an_attempt_has_its_time(autojump_clock: MockClock) -> None:
    """ZMQ_CONNECT_TIMEOUT: an attempt that takes longer has failed; the next one is made."""
    transport = Opening(None)
    async with trimq.open_context(transports=[transport], linger=0) as context:
        radio = context.socket(trimq.Radio, connect_timeout=2.0)
        async with radio.events() as events:
            endpoint = radio.connect("udp://nowhere:1")
            with trio.fail_after(100):
                await endpoint.ready()
                async for event in events:
                    if isinstance(event, trimq.events.ConnectFailed):
                        assert isinstance(event.cause, TimeoutError)
                        assert "not opened within 2 s" in str(event.cause)
                        break
    assert 2 < transport.pauses()[0] <= 2.1
