"""PUSH to PULL on loopback in other shapes: three frames of 32 bytes, one of 1 KiB, and 64 bytes over ipc.

One await a message at both ends, two processes, beside pyzmq blocking, and trimq's batches. High-water marks are equal;
messages are made before the clock, kept in a list, and compared in order after the clock has stopped (pipeline.py).
"""

from __future__ import annotations

from harness import Contender, Scenario, main
from pipeline import pyzmq_receive, pyzmq_send, trimq_receive, trimq_receive_many, trimq_send, trimq_send_many


def shape(name: str, what: str, count: int, target: float, share: float = 1.0, **options: object) -> Scenario:
    """One shape; the ends are the same for all."""
    contenders = [
        Contender("trimq", (trimq_receive, trimq_send)),
        Contender("pyzmq blocking", (pyzmq_receive, pyzmq_send), share=share),
        Contender("trimq, send_many, receive_many", (trimq_receive_many, trimq_send_many)),
    ]
    title = f"PUSH -> PULL, {what}, one await a message"
    return Scenario(name, title, contenders, count, options=options, targets={"pyzmq blocking": target})


if __name__ == "__main__":
    main(
        __file__,
        [
            shape("three-frames", "tcp, 3 frames of 32 B", 800_000, 4.0, share=0.5, size=32, frames=3),
            shape("1-KiB", "tcp, 1 KiB", 800_000, 1.1, size=1024),
            shape("ipc", "ipc, 64 B", 1_500_000, 1.4, bind="ipc://*"),
        ],
    )
