"""Echo among many: 100 DEALER clients in one process, one ROUTER in another that sends back what it gets; tcp, 64 bytes.

Each client keeps 32 messages in flight: it sends 32, and then one more for each that comes back. The rate is that of all
round trips together, from when every client has had one message back until all have had all back.

Fair: the same high-water marks. trimq has a task a client; pyzmq's blocking calls serve the 100 sockets in one thread by
one poller, which takes all that a readable socket has before it polls again (the faster way; a message a socket a
poll is slower). The server is one loop on both sides. trimq runs with one await a message, as pyzmq has one call a
message, and then with receive_many and, at the clients, send_many: pyzmq has no batches.
Checked: every message is distinct; each client compares what it got with what it sent, in order, and the server what
it got from each, after the clock has stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness import Clock, Contender, Scenario, announce, main, report, wrong

CLIENTS = 100
FLIGHT = 32
SIZE = 64
HELLO = b"hello"


def payloads(client: int, count: int) -> list[bytes]:
    """What one client sends."""
    return [b"%0*d" % (SIZE, client * count + number) for number in range(count)]


def each(options: dict[str, Any]) -> int:
    """How many messages a client sends."""
    count, rest = divmod(options["count"], CLIENTS)
    assert not rest, f"the count must be a multiple of {CLIENTS}"
    return int(count)


def served(clock: Clock, received: Iterable[list[bytes]], options: dict[str, Any]) -> None:
    """Reports for the server, which got these: routing ids and bodies."""
    report(cpu=clock.stop()["cpu"])
    by_client: dict[bytes, list[bytes]] = {}
    for routing_id, body in received:
        by_client.setdefault(routing_id, []).append(body)
    if sorted(by_client.values()) != [payloads(client, each(options)) for client in range(CLIENTS)]:
        wrong("the clients' messages did not arrive as they were sent")


def asked(clock: Clock, sent: list[list[bytes]], received: list[list[bytes]]) -> None:
    """Reports for the clients."""
    report(**clock.stop())
    if received != sent:
        wrong("the clients did not get back what they sent, in order")


def trimq_server(endpoint: str, options: dict[str, Any]) -> None:
    """A trimq Router."""
    import trio

    import trimq

    async def run() -> None:
        received: list[list[bytes]] = []
        async with trimq.open_context() as context:
            router = context.socket(trimq.Router, send_hwm=options["hwm"], receive_hwm=options["hwm"])
            announce(router.bind(endpoint))
            for _ in range(CLIENTS):
                await router.send(await router.receive())
            clock = Clock()
            if options.get("batches"):
                while len(received) < options["count"]:
                    batch = await router.receive_many()
                    received += batch
                    for message in batch:
                        await router.send(message)
            else:
                for _ in range(options["count"]):
                    message = await router.receive()
                    received.append(message)
                    await router.send(message)
            served(clock, received, options)

    trio.run(run)


def trimq_clients(endpoint: str, options: dict[str, Any]) -> None:
    """100 trimq Dealers, a task each."""
    import trio

    import trimq

    async def message_by_message(dealer: trimq.Dealer, to_send: list[bytes], received: list[bytes]) -> None:
        for message in to_send[:FLIGHT]:
            await dealer.send(message)
        for message in to_send[FLIGHT:]:
            received.append((await dealer.receive())[0])
            await dealer.send(message)
        while len(received) < len(to_send):
            received.append((await dealer.receive())[0])

    async def in_batches(dealer: trimq.Dealer, to_send: list[bytes], received: list[bytes]) -> None:
        await dealer.send_many(to_send[:FLIGHT])
        while len(received) < len(to_send):
            sent = len(received) + FLIGHT
            received += [message[0] for message in await dealer.receive_many()]
            await dealer.send_many(to_send[sent : len(received) + FLIGHT])

    async def run() -> None:
        sent = [payloads(client, each(options)) for client in range(CLIENTS)]
        received: list[list[bytes]] = [[] for _ in sent]
        exchange = in_batches if options.get("batches") else message_by_message
        async with trimq.open_context(send_hwm=options["hwm"], receive_hwm=options["hwm"]) as context:
            dealers = [context.socket(trimq.Dealer) for _ in sent]
            for dealer in dealers:
                dealer.connect(endpoint)
                await dealer.send(HELLO)
            for dealer in dealers:
                await dealer.receive()
            clock = Clock()
            async with trio.open_nursery() as nursery:
                for dealer, to_send, got in zip(dealers, sent, received, strict=True):
                    nursery.start_soon(exchange, dealer, to_send, got)
            asked(clock, sent, received)

    trio.run(run)


def pyzmq_server(endpoint: str, options: dict[str, Any]) -> None:
    """A pyzmq ROUTER, blocking calls."""
    import zmq

    received: list[list[bytes]] = []
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.hwm = options["hwm"]
        router.bind(endpoint)
        announce(router.last_endpoint.decode())
        for _ in range(CLIENTS):
            router.send_multipart(router.recv_multipart())
        clock = Clock()
        for _ in range(options["count"]):
            message = router.recv_multipart()
            received.append(message)
            router.send_multipart(message)
        served(clock, received, options)


def pyzmq_clients(endpoint: str, options: dict[str, Any]) -> None:
    """100 pyzmq DEALERs, blocking calls, one poller."""
    import zmq

    sent = [payloads(client, each(options)) for client in range(CLIENTS)]
    received: list[list[bytes]] = [[] for _ in sent]
    with zmq.Context() as context:
        dealers = [context.socket(zmq.DEALER) for _ in sent]
        poller = zmq.Poller()
        for dealer in dealers:
            dealer.hwm = options["hwm"]
            dealer.connect(endpoint)
            dealer.send(HELLO)
        for dealer in dealers:
            dealer.recv()
            poller.register(dealer, zmq.POLLIN)
        clock = Clock()
        waiting = {}
        for dealer, to_send, got in zip(dealers, sent, received, strict=True):
            for message in to_send[:FLIGHT]:
                dealer.send(message)
            waiting[dealer] = (iter(to_send[FLIGHT:]), got, len(to_send))
        while waiting:
            for dealer, _ in poller.poll():
                to_come, got, count = waiting[dealer]
                try:
                    while True:
                        got.append(dealer.recv(zmq.DONTWAIT))
                        for message in to_come:
                            dealer.send(message)
                            break
                except zmq.Again:
                    if len(got) == count:
                        poller.unregister(dealer)
                        del waiting[dealer]
        asked(clock, sent, received)
        for dealer in dealers:
            dealer.close()


if __name__ == "__main__":
    main(
        __file__,
        [
            Scenario(
                "echo",
                f"{CLIENTS} DEALERs -> ROUTER -> DEALERs echo, {FLIGHT} in flight each, {SIZE} B, tcp; round trips",
                [
                    Contender("trimq", [trimq_server, trimq_clients]),
                    Contender("trimq in batches", [trimq_server, trimq_clients], {"batches": True}),
                    Contender("pyzmq blocking", [pyzmq_server, pyzmq_clients]),
                ],
                count=300_000,
                targets={"pyzmq blocking": 2.0},
            )
        ],
    )
