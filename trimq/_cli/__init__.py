"""The command line: ``python -m trimq``, or ``trimq`` where it is installed.

Here is what it understands, and nothing of what it does: each command has a file of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .._version import __version__
from ._demo import ANYWHERE, available_cores, demo

__all__ = ["main"]

DEMO = """
Counts words in several processes that talk with each other through ZeroMQ sockets, and checks the result against a
count in one process. The files' lines go out through PUSH to the workers' PULL, what they count comes back the same
way, and one SUB hears of the progress, connected to an inproc and to a tcp endpoint at once.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      argv: the arguments, without the program's name; None for the process's own.

    Returns:
      the exit code: 0 if all is well, 1 if something failed on the way, 2 for a wrong command line or bad input,
      130 after Ctrl-C.
    """
    options = _parser().parse_args(argv)
    return demo(options.files, workers=options.workers, transport=options.transport, with_pyzmq=options.with_pyzmq)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trimq", description="ZeroMQ for trio, in pure Python.")
    parser.add_argument("--version", action="version", version=f"trimq {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands.add_parser("demo", help="count words in several processes", description=DEMO))
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="what to count the words of (default: the .py files of this Python's standard library)",
    )
    parser.add_argument(
        "--workers",
        type=_at_least_one,
        default=available_cores(),
        metavar="N",
        help="how many worker processes (default: one per core, here %(default)s)",
    )
    parser.add_argument(
        "--transport", choices=list(ANYWHERE), default="tcp", help="between the processes (default: %(default)s)"
    )
    parser.add_argument(
        "--with-pyzmq", action="store_true", help="make half of the workers pyzmq ones, which use libzmq"
    )


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of workers is 1 or more, not {text}")
    return int(text)
