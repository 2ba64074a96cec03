"""PUSH to PULL over tcp on loopback: 64-byte messages, one await a message at both ends, two processes.

trimq beside what a user would pick instead: pyzmq blocking (one call a message) and with asyncio, pyomq with asyncio
(what the target is about) and blocking (its fastest: the work is done by threads in Rust), zmq-anyio on trio. The floor
is a trio stream that carries the same bytes, unframed and in blocks. Slow ones get a part of the messages. High-water
marks are equal on all sides; each program makes its messages before the clock and appends what it receives to a list;
all of it is compared, in order, after the clock has stopped (pipeline.py).
"""

from __future__ import annotations

from harness import Contender, Scenario, main
from pipeline import (
    pyomq_asyncio_receive,
    pyomq_asyncio_send,
    pyomq_receive,
    pyomq_send,
    pyzmq_asyncio_receive,
    pyzmq_asyncio_send,
    pyzmq_receive,
    pyzmq_send,
    trimq_receive,
    trimq_send,
    trio_receive,
    trio_send,
    zmq_anyio_receive,
    zmq_anyio_send,
)

if __name__ == "__main__":
    main(
        __file__,
        [
            Scenario(
                "push-pull",
                "PUSH -> PULL, tcp, 64 B, one await a message at both ends",
                [
                    Contender("trimq", (trimq_receive, trimq_send)),
                    Contender("pyzmq blocking", (pyzmq_receive, pyzmq_send)),
                    Contender("pyomq blocking", (pyomq_receive, pyomq_send)),
                    Contender("pyomq asyncio", (pyomq_asyncio_receive, pyomq_asyncio_send)),
                    Contender("pyzmq asyncio", (pyzmq_asyncio_receive, pyzmq_asyncio_send), share=0.1),
                    Contender("zmq-anyio on trio", (zmq_anyio_receive, zmq_anyio_send), share=0.02),
                    Contender("trio stream, unframed, in blocks", (trio_receive, trio_send)),
                ],
                count=1_500_000,
                targets={"pyzmq blocking": 1.5, "pyomq asyncio": 2.5, "pyzmq asyncio": 20, "zmq-anyio on trio": 80},
            )
        ],
    )
