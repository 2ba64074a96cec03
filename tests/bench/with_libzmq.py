"""PUSH to PULL over tcp on loopback, 64 bytes: trimq at one end and pyzmq, blocking, at the other.

Ratios are to pyzmq at both ends. It shows which of trimq's ends holds a pair back, and that neither is quick only
because the other is. High-water marks are equal; messages are made before the clock, kept in a list, and compared in
order after the clock has stopped (pipeline.py).
"""

from __future__ import annotations

from harness import Contender, Scenario, main
from pipeline import pyzmq_receive, pyzmq_send, trimq_receive, trimq_receive_many, trimq_send, trimq_send_many

PYZMQ = "pyzmq -> pyzmq"

if __name__ == "__main__":
    main(
        __file__,
        [
            Scenario(
                "with-libzmq",
                "PUSH -> PULL, tcp, 64 B, trimq with pyzmq at the other end",
                [
                    Contender("pyzmq -> trimq", (trimq_receive, pyzmq_send)),
                    Contender("pyzmq -> trimq, receive_many", (trimq_receive_many, pyzmq_send)),
                    Contender("trimq -> pyzmq", (pyzmq_receive, trimq_send)),
                    Contender("trimq, send_many -> pyzmq", (pyzmq_receive, trimq_send_many)),
                    Contender(PYZMQ, (pyzmq_receive, pyzmq_send)),
                ],
                count=1_500_000,
                targets={
                    ("pyzmq -> trimq", PYZMQ): 0.85,
                    ("pyzmq -> trimq, receive_many", PYZMQ): 1.0,
                    ("trimq -> pyzmq", PYZMQ): 1.25,
                    ("trimq, send_many -> pyzmq", PYZMQ): 1.25,
                },
            )
        ],
    )
