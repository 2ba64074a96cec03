"""One-way stream through a proxy: pyzmq PUSH -> [PULL, PUSH] -> pyzmq PULL, three processes, tcp, 64 bytes.

The ends are the same pyzmq programs for every contender, blocking calls; only the process in the middle differs.
trimq's is `trimq.proxy`, and a loop with one await a message; pyzmq's and pyomq's are
their `proxy` functions, which do not come back to Python. The rate is the receiver's, from its first message to its last.

Fair: the same high-water marks on all four sockets. The CPU time is that of the receiver, which starts the proxy, and of
the sender; ``proxy_us`` is that of the process in the middle, over the same span as the rate.
Checked: every message is distinct; the receiver compares order and content after the clock has stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any, Self

from harness import Clock, Contender, Scenario, announce, main, report, wrong

SIZE = 64


def payloads(options: dict[str, Any]) -> list[bytes]:
    """What is sent."""
    return [b"%0*d" % (SIZE, number) for number in range(options["count"])]


# The ends


def receiver(endpoint: str, options: dict[str, Any]) -> None:
    """A pyzmq PULL; starts the proxy, and announces the proxy's own endpoint for the sender."""
    import zmq

    received = []
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.hwm = options["hwm"]
        pull.bind(endpoint)
        with Middle(options, pull.last_endpoint.decode()) as middle:
            announce(middle.endpoint)
            received.append(pull.recv())
            middle.start()
            clock = Clock()
            for _ in range(options["count"] - 1):
                received.append(pull.recv())
            figures = clock.stop()
            report(**figures, proxy_us=1e6 * middle.stop() / options["count"])
    if received != payloads(options):
        wrong("the messages did not arrive as they were sent")


def sender(endpoint: str, options: dict[str, Any]) -> None:
    """A pyzmq PUSH."""
    import zmq

    messages = payloads(options)
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.hwm = options["hwm"]
        push.connect(endpoint)
        clock = Clock()
        for message in messages:
            push.send(message)
        report(cpu=clock.stop()["cpu"])


class Middle:
    """The process in the middle, as the receiver has it: told by lines when to start and to stop its clock."""

    def __init__(self, options: dict[str, Any], backend: str) -> None:
        command = [sys.executable, __file__, "--end", options["proxy"], "--endpoint", backend]
        self._process = subprocess.Popen(
            [*command, "--options", json.dumps(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.endpoint: str = self._read()["endpoint"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else wrong("the proxy has ended")  # type: ignore[no-any-return]

    def start(self) -> None:
        """Its clock starts."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def stop(self) -> float:
        """Its CPU time since the start, in seconds; it ends."""
        self.start()
        seconds: float = self._read()["cpu"]
        return seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()


# The middle


def obey() -> None:
    """In the middle, a thread: a line starts the clock, another stops it, and the process ends. It costs nothing else."""

    def listen() -> None:
        if sys.stdin.readline():
            clock = Clock()
            sys.stdin.readline()
            report(cpu=clock.stop()["cpu"])
        os._exit(0)  # also if the receiver has ended without a word

    threading.Thread(target=listen, daemon=True).start()


def trimq_proxy(endpoint: str, options: dict[str, Any]) -> None:
    """A trimq Pull and Push, and trimq.proxy or a loop between them."""
    import trio

    import trimq

    async def run() -> None:
        async with trimq.open_context() as context:
            frontend = context.socket(trimq.Pull, receive_hwm=options["hwm"])
            backend = context.socket(trimq.Push, send_hwm=options["hwm"])
            backend.connect(endpoint)
            announce(frontend.bind(options["bind"]))
            obey()
            if options.get("loop"):
                async for message in frontend:
                    await backend.send(message)
            await trimq.proxy(frontend, backend)

    trio.run(run)


def pyzmq_proxy(endpoint: str, options: dict[str, Any]) -> None:
    """A pyzmq PULL and PUSH, and zmq_proxy between them."""
    import zmq

    context = zmq.Context()
    frontend, backend = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    frontend.hwm = backend.hwm = options["hwm"]
    backend.connect(endpoint)
    frontend.bind(options["bind"])
    announce(frontend.last_endpoint.decode())
    obey()
    zmq.proxy(frontend, backend)


def pyomq_proxy(endpoint: str, options: dict[str, Any]) -> None:
    """A pyomq PULL and PUSH, and its proxy between them."""
    import pyomq

    context = pyomq.Context()
    frontend, backend = context.socket(pyomq.PULL), context.socket(pyomq.PUSH)
    frontend.set_hwm(options["hwm"])
    backend.set_hwm(options["hwm"])
    backend.connect(endpoint)
    announce(frontend.bind(options["bind"]))
    obey()
    pyomq.proxy(frontend, backend)


if __name__ == "__main__":
    main(
        __file__,
        [
            Scenario(
                "proxy",
                f"pyzmq PUSH -> PULL/PUSH proxy -> pyzmq PULL, three processes, {SIZE} B, tcp",
                [
                    Contender("trimq.proxy", [receiver, sender], {"proxy": "trimq_proxy"}),
                    Contender("a loop of trimq", [receiver, sender], {"proxy": "trimq_proxy", "loop": True}),
                    Contender("zmq.proxy of pyzmq", [receiver, sender], {"proxy": "pyzmq_proxy"}),
                    Contender("pyomq.proxy", [receiver, sender], {"proxy": "pyomq_proxy"}),
                ],
                count=1_000_000,
                targets={"zmq.proxy of pyzmq": 1.0},
            )
        ],
    )
