"""How one input of a fuzzer becomes a stream, and the reads it comes in.

    mode(1)  cuts(1)  cut(2) * cuts  head(1) unit(1) times(1)  stream

``mode`` is the target's. After ``head`` bytes of the stream the ``unit`` bytes that follow come ``times`` + 1 times:
runs of messages alike, which a fuzzer would hardly find. A cut is a place modulo the stream's length. What is missing is 0.
"""

from __future__ import annotations

MOST_CUTS = 16


def take(data: bytes) -> tuple[int, list[bytes]]:
    """The mode, and the stream in the pieces it is to be read in."""
    data = data[:4096]
    mode, cuts = (data[:2] + bytes(2))[:2]
    count = cuts % MOST_CUTS
    at, data = data[2 : 2 + 2 * count], data[2 + 2 * count :]
    head, unit, times = (data[:3] + bytes(3))[:3]
    data = data[3:]
    stream = data[:head] + data[head : head + unit] * times + data[head:]
    places = sorted(int.from_bytes(at[n : n + 2], "big") % (len(stream) + 1) for n in range(0, len(at), 2))
    return mode, [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


def make(stream: bytes, mode: int = 0, cuts: tuple[int, ...] = (), repeat: tuple[int, int, int] = (0, 0, 0)) -> bytes:
    """An input that `take` reads so."""
    return bytes([mode, len(cuts)]) + b"".join(cut.to_bytes(2, "big") for cut in cuts) + bytes(repeat) + stream
