"""PUSH to PULL over tcp on loopback: 64-byte messages in batches, two processes.

trimq's send_many and receive_many beside pyzmq blocking, which has no batches and takes one call a message; beside
libzmq's own throughput in C (libzmq_throughput.c, compiled here against the libzmq that pyzmq's wheel brings; left out
where there is no gcc); and beside the floor, a trio stream with the same bytes, unframed and in blocks. High-water marks
are equal on all sides. Programs in Python make their messages before the clock, append what they receive to a list and
compare all of it after the clock has stopped (pipeline.py); those in C number each message on its way and compare it on
arrival, which costs them next to nothing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import Contender, Scenario, main
from pipeline import pyzmq_receive, pyzmq_send, trimq_receive_many, trimq_send_many, trio_receive, trio_send

SIZE = 64


def _c_end(role: str, endpoint: str, options: dict[str, Any]) -> None:
    numbers = (str(options[name]) for name in ("count", "size", "hwm"))
    os.execv(options["program"], [options["program"], role, endpoint, *numbers])


def libzmq_receive(endpoint: str, options: dict[str, Any]) -> None:
    """zmq_recv in a loop."""
    _c_end("receive", endpoint, options)


def libzmq_send(endpoint: str, options: dict[str, Any]) -> None:
    """zmq_send in a loop."""
    _c_end("send", endpoint, options)


def build(folder: str) -> str:
    """Compiles the program in C, against the libzmq that pyzmq runs on.

    Returns:
      where it is.

    Raises:
      RuntimeError: it cannot be had; says why.
    """
    compiler = shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("there is no gcc")
    found = importlib.util.find_spec("zmq")
    if found is None or found.origin is None:
        raise RuntimeError("there is no pyzmq")
    libraries = Path(found.origin).parent.parent / "pyzmq.libs"
    library = next(libraries.glob("libzmq-*.so*"), None)
    if library is None:
        raise RuntimeError("this pyzmq does not bring a libzmq of its own")
    program = f"{folder}/libzmq_throughput"
    source = Path(__file__).with_name("libzmq_throughput.c")
    # what the library itself needs is beside it, or found when the program is started
    needs = [f"-Wl,-rpath,{libraries}", f"-Wl,-rpath-link,{libraries}", "-Wl,--allow-shlib-undefined"]
    command = [compiler, "-O2", "-std=gnu11", "-o", program, str(source), str(library), *needs]
    compiled = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if compiled.returncode:
        raise RuntimeError(f"gcc failed: {compiled.stderr.strip()}")
    return program


def scenario(folder: str) -> Scenario:
    """What is set side by side here, today."""
    contenders = [
        Contender("trimq, send_many, receive_many", (trimq_receive_many, trimq_send_many)),
        Contender("pyzmq blocking", (pyzmq_receive, pyzmq_send), share=0.4),
        Contender("trio stream, unframed, in blocks", (trio_receive, trio_send)),
    ]
    try:
        program = build(folder)
    except RuntimeError as reason:
        print(f"left out: libzmq in C, since {reason}")
    else:
        contenders.insert(2, Contender("libzmq in C", (libzmq_receive, libzmq_send), {"program": program}))
    title = "PUSH -> PULL, tcp, 64 B, trimq in batches"
    targets = {"pyzmq blocking": 4.0}
    return Scenario("batches", title, contenders, count=4_000_000, options={"size": SIZE}, targets=targets)


if __name__ == "__main__":
    if "--end" in sys.argv:  # it is told where the program is, and becomes it: nobody would tidy up after it
        main(__file__, [])
    else:
        with tempfile.TemporaryDirectory(prefix="trimq-bench-") as built:
            main(__file__, [scenario(built)])
