"""RADIO to DISH on loopback, 64 bytes, one await a message at both ends, two processes: over udp and over tcp.

Over udp beside raw datagrams (`trio.socket`, one ``send`` and one ``recv`` a message), which is the floor; over both beside
the npm package zeromq (libzmq 4.3.5 with drafts), since pyzmq's wheels have no RADIO. trimq's batches stand on their own.

Datagrams may be lost: each sender goes as fast as its system takes what it says, and what a receiver's buffer in the kernel
has no room for is gone. So what counts over udp is what arrived, a second of the receiver's and its CPU time, and the part
that was lost is said. Each sender waits for room rather than drop (trimq ``mute="block"``, libzmq ZMQ_XPUB_NODROP, which
counts for RADIO too), with the same high-water marks; over tcp nothing may be lost.

The receiving end hears ``BEGIN`` until it has said so on a tcp line beside, then the messages, then ``END`` until it has
ended. Checked, after the clock has stopped: what arrived is what was sent, byte for byte, nothing twice, in order.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from harness import Clock, Contender, Scenario, announce, main, report, wrong
from npm_ends import become

SIZE = 64
BEGIN = b"BEGIN"
END = b"END"
PAUSE = 0.002  # seconds between two BEGIN or END


class Receiver:
    """The receiving end's side of the line."""

    def __init__(self, endpoint: object, options: dict[str, Any]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._options = options
        announce(f"{endpoint} {self._listener.getsockname()[1]}")

    def begun(self) -> None:
        """The first BEGIN is here."""
        self._line = self._listener.accept()[0]
        self._line.send(b"!")

    def over(self, clock: Clock, received: Sequence[bytes]) -> None:
        """The first END is here; reports, and checks what came before it."""
        figures = clock.stop()
        self._line.close()
        count, arrived = self._options["count"], len(received)
        report(**figures, arrived=arrived, lost_percent=100 * (1 - arrived / count))
        if self._options["lossless"] and arrived != count:
            wrong(f"{arrived} of {count} messages arrived")
        numbers = list(map(int, received))
        if [b"%0*d" % (SIZE, number) for number in numbers] != received or numbers[-1] >= count:
            wrong("what arrived was not sent")
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            wrong("something arrived twice, or not in order")


class Line:
    """The sending end's side of the line."""

    def __init__(self, port: str) -> None:
        self._line = socket.create_connection(("127.0.0.1", int(port)))

    def heard(self) -> bool:
        """Whether the other end has said that the messages may come; after that, whether it has ended."""
        heard = bool(select.select([self._line], [], [], 0)[0])
        if heard:
            self._line.recv(1)
        return heard


def payloads(options: dict[str, Any]) -> list[bytes]:
    """What is sent: distinct messages of one size."""
    return [b"%0*d" % (SIZE, number) for number in range(options["count"])]


def trimq_dish(endpoint: str, options: dict[str, Any]) -> None:
    """A trimq Dish."""
    import trio

    import trimq

    async def run() -> None:
        async with trimq.open_context() as context:
            dish = context.socket(trimq.Dish, receive_hwm=options["hwm"])
            dish.join("g")
            receiver = Receiver(dish.bind(endpoint), options)
            await dish.receive()
            receiver.begun()
            while (body := (await dish.receive()).body) == BEGIN:
                pass
            clock, received = Clock(), [body]
            if options.get("batches"):
                while received[-1] != END:
                    received += [message.body for message in await dish.receive_many()]
                del received[received.index(END) :]
            else:
                while (body := (await dish.receive()).body) != END:
                    received.append(body)
            receiver.over(clock, received)

    trio.run(run)


def trimq_radio(endpoint: str, options: dict[str, Any]) -> None:
    """A trimq Radio."""
    import trio

    import trimq

    async def run() -> None:
        where, port = endpoint.split()
        messages = [trimq.GroupMessage("g", body) for body in payloads(options)]
        async with trimq.open_context(linger=0) as context:
            radio = context.socket(trimq.Radio, send_hwm=options["hwm"], mute="block")
            line = Line(port)
            await radio.connect(where).ready()
            while not line.heard():
                await radio.send(trimq.GroupMessage("g", BEGIN))
                await trio.sleep(PAUSE)
            clock = Clock()
            if options.get("batches"):
                await radio.send_many(messages)
            else:
                for message in messages:
                    await radio.send(message)
            await radio.flush()
            cpu = clock.stop()["cpu"]
            while not line.heard():
                await radio.send(trimq.GroupMessage("g", END))
                await trio.sleep(PAUSE)
            report(cpu=cpu)

    trio.run(run)


def raw_receive(endpoint: str, options: dict[str, Any]) -> None:
    """A datagram socket of trio's."""
    import trio

    async def run() -> None:
        sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await sock.bind(("127.0.0.1", 0))
        receiver = Receiver(f"udp://127.0.0.1:{sock.getsockname()[1]}", options)
        await sock.recv(8192)
        receiver.begun()
        while (body := await sock.recv(8192)) == BEGIN:
            pass
        clock, received = Clock(), [body]
        while (body := await sock.recv(8192)) != END:
            received.append(body)
        receiver.over(clock, received)

    trio.run(run)


def raw_send(endpoint: str, options: dict[str, Any]) -> None:
    """A datagram socket of trio's."""
    import trio

    async def run() -> None:
        where, port = endpoint.split()
        messages = payloads(options)
        sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await sock.connect(("127.0.0.1", int(where.rsplit(":", 1)[1])))
        line = Line(port)
        while not line.heard():
            await sock.send(BEGIN)
            await trio.sleep(PAUSE)
        clock = Clock()
        for message in messages:
            await sock.send(message)
        cpu = clock.stop()["cpu"]
        try:
            while not line.heard():
                await sock.send(END)
                await trio.sleep(PAUSE)
        except ConnectionRefusedError:
            pass  # it has ended
        report(cpu=cpu)

    trio.run(run)


def npm_dish(endpoint: str, options: dict[str, Any]) -> None:
    """A Dish of the npm package."""
    if endpoint.startswith("udp"):  # it does not say which port it has bound
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            endpoint = f"udp://127.0.0.1:{sock.getsockname()[1]}"
    become("dish", endpoint, options)


def npm_radio(endpoint: str, options: dict[str, Any]) -> None:
    """A Radio of the npm package."""
    become("radio", endpoint, options)


TRIMQ = Contender("trimq", [trimq_dish, trimq_radio])
BATCHES = Contender("trimq, in batches", [trimq_dish, trimq_radio], {"batches": True})
NPM = Contender("npm zeromq", [npm_dish, npm_radio], share=0.5)

if __name__ == "__main__":
    main(
        __file__,
        [
            Scenario(
                "radio-dish-udp",
                f"RADIO -> DISH, udp, {SIZE} B, one await a message: those that arrive",
                [TRIMQ, BATCHES, Contender("raw trio datagrams", [raw_receive, raw_send]), NPM],
                count=200_000,
                options={"bind": "udp://127.0.0.1:*", "lossless": False},
                targets={"raw trio datagrams": 0.7, "npm zeromq": 1.0},
            ),
            Scenario(
                "radio-dish-tcp",
                f"RADIO -> DISH, tcp, {SIZE} B, one await a message, nothing dropped",
                [TRIMQ, BATCHES, NPM],
                count=200_000,
                options={"lossless": True},
                targets={"npm zeromq": 1.0},
            ),
        ],
    )
