"""PUSH to PULL over tcp on loopback: messages of mixed sizes and frame counts, one await a message at both ends.

What a program really sends is seldom all of one size, and what is quick only for messages that are alike shows here.
Three mixes: frames of 1 to 1,500 bytes, each size equally often, 1 to 5 in a message; the same with one frame; and one
frame whose sizes are small more often than not (about as many of 1 to 4 bytes as of 375 to 1,500). The sizes are
drawn by chance, the same for everybody. Beside pyzmq blocking, and trimq's batches. High-water marks are equal; messages
are made before the clock, kept in a list, and compared in order after the clock has stopped (pipeline.py).
"""

from __future__ import annotations

from harness import Contender, Scenario, main
from pipeline import pyzmq_receive, pyzmq_send, trimq_receive, trimq_receive_many, trimq_send, trimq_send_many

CONTENDERS = [
    Contender("trimq", (trimq_receive, trimq_send)),
    Contender("pyzmq blocking", (pyzmq_receive, pyzmq_send)),
    Contender("trimq, send_many, receive_many", (trimq_receive_many, trimq_send_many)),
]
TARGETS = {"pyzmq blocking": 1.3}


def mix(name: str, what: str, count: int, **options: object) -> Scenario:
    """One mix; the ends are the same for all."""
    title = f"PUSH -> PULL, tcp, {what}, one await a message"
    return Scenario(name, title, CONTENDERS, count=count, options={"size": 1500, **options}, targets=TARGETS)


if __name__ == "__main__":
    main(
        __file__,
        [
            mix("mixed", "1 to 5 frames of 1 to 1,500 B", 200_000, mixed="even", frames=5),
            mix("mixed-sizes", "1 to 1,500 B", 500_000, mixed="even"),
            mix("mixed-small", "1 to 1,500 B, small ones more often", 1_000_000, mixed="low"),
        ],
    )
