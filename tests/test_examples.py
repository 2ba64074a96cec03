"""Each example does what its docstring says, in processes of their own, and is short."""

from __future__ import annotations

import ast
import socket
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from programs import Program, running

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))

each_transport = pytest.mark.parametrize("anywhere", ["tcp://127.0.0.1:*", "ipc://*"])


def example(name: str, *arguments: object) -> AbstractAsyncContextManager[Program]:
    """An example that runs."""
    return running(str(EXAMPLES / f"{name}.py"), *map(str, arguments))


async def endpoint_of(program: Program) -> str:
    """The endpoint that ends the program's first line."""
    return (await program.line()).rpartition(" ")[2]


def test_the_examples_are_there() -> None:
    """The ones that issue 2 names, and none without a test below."""
    assert {path.stem for path in FILES} == {
        *("hello_client", "hello_server", "router_broker"),
        *("weather_publisher", "weather_subscriber"),
        *("ventilator", "worker", "sink"),
        *("announcer", "listener"),  # issue 7
        *("ticker", "ticker_reader"),  # issue 8
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    """design.md 3: each under 60 lines."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")


@each_transport
async def test_hello(anywhere: str) -> None:
    """The client's requests are answered in order, and both end after as many as they were told."""
    async with example("hello_server", anywhere, 5) as server:
        async with example("hello_client", await endpoint_of(server), 5) as client:
            assert await client.rest() == [f"hello, client {number}" for number in range(1, 6)]
        assert await server.rest() == [f"answered client {number}" for number in range(1, 6)]


async def test_hello_whichever_starts_first(tmp_path: Path) -> None:
    """zmq_connect(3): a client that is there before its server is served when the server comes."""
    endpoint = f"ipc://{tmp_path}/hello"
    async with example("hello_client", endpoint, 1) as client, example("hello_server", endpoint, 1) as server:
        assert await client.rest() == ["hello, client 1"]
        assert await server.rest() == [f"listening at {endpoint}", "answered client 1"]


@each_transport
async def test_router_broker(anywhere: str) -> None:
    """Two clients' requests go to two servers in turn, and each reply to the client that asked."""
    async with example("hello_server", anywhere, 4) as one, example("hello_server", anywhere, 4) as other:
        servers = [await endpoint_of(one), await endpoint_of(other)]
        async with example("router_broker", anywhere, 8, *servers) as broker:
            frontend = await endpoint_of(broker)
            async with example("hello_client", frontend, 4) as first, example("hello_client", frontend, 4) as second:
                expected = [f"hello, client {number}" for number in range(1, 5)]
                assert await first.rest() == await second.rest() == expected
            assert await broker.rest() == []
        assert len(await one.rest()) == len(await other.rest()) == 4


@each_transport
async def test_weather(anywhere: str) -> None:
    """The subscriber gets every update of its city, and of no other, from the first on."""
    async with example("weather_publisher", anywhere, 3) as publisher:
        async with example("weather_subscriber", await endpoint_of(publisher), "Lima", 3) as subscriber:
            *updates, mean = await subscriber.rest()
        assert await publisher.rest() == []
    degrees = [int(update.removeprefix("Lima: ").removesuffix(" degrees")) for update in updates]
    assert len(degrees) == 3
    assert mean == f"mean of 3 updates: {sum(degrees) / 3:.1f} degrees"


@each_transport
async def test_pipeline(anywhere: str) -> None:
    """Two workers get half of the tasks each, and the sink gets each result once."""
    async with example("ventilator", anywhere, 20, 2) as ventilator, example("sink", anywhere, 20) as sink:
        ends = await endpoint_of(ventilator), await endpoint_of(sink)
        async with example("worker", *ends, 10) as one, example("worker", *ends, 10) as other:
            *results, summary = await sink.rest()
            assert await one.rest() == await other.rest() == ["did 10 tasks"]
        assert await ventilator.rest() == ["gave out 20 tasks"]
    assert summary.startswith("20 results in ")
    assert sorted(int(result.partition(" = ")[0]) for result in results) == list(range(10**9, 10**9 + 20))
    assert "1000000000 = 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2 * 2 * 5 * 5 * 5 * 5 * 5 * 5 * 5 * 5 * 5" in results


async def test_announcer() -> None:
    """Two listeners hear the same, each its own group and nothing else; the announcer knows of neither."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        endpoint = f"udp://127.0.0.1;239.255.7.10:{sock.getsockname()[1]}"
    async with example("listener", endpoint, "time", 2) as one, example("listener", endpoint, "seconds", 2) as other:
        assert await one.line() == await other.line() == f"listening at {endpoint}"
        async with example("announcer", endpoint, 2) as announcer:
            assert [line.partition(": ")[0] for line in await one.rest()] == ["time"] * 2
            assert [line.partition(": ")[0] for line in await other.rest()] == ["seconds"] * 2
            assert await announcer.rest() == []


async def test_ticker() -> None:
    """Two readers get every price of their share, in order, from the first on, and lose none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        endpoint = f"epgm://127.0.0.1;239.192.7.10:{sock.getsockname()[1]}"
    async with (
        example("ticker_reader", endpoint, "ACME", 20) as one,
        example("ticker_reader", endpoint, "EMCA", 20) as other,
    ):
        assert await one.line() == await other.line() == f"listening at {endpoint}"
        async with example("ticker", endpoint, 20) as ticker:
            assert await one.rest() == [f"ACME {n}: {100 + n % 7}" for n in range(1, 21)]
            assert await other.rest() == [f"EMCA {n}: {50 + n % 5}" for n in range(1, 21)]
            assert await ticker.rest() == []
