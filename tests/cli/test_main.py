"""The command line itself: what it says of itself, and what it refuses (exit code 2)."""

from __future__ import annotations

import pytest
from programs import run

import trimq
from trimq._cli import main


def test_version() -> None:
    """``python -m trimq --version``, as a process."""
    done = run(["-m", "trimq", "--version"])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"trimq {trimq.__version__}\n", "")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names the commands, and a command's help its options."""
    for arguments, expected in [
        (["--help"], ["demo", "--version"]),
        (["demo", "--help"], ["FILE", "--workers N", "--transport {tcp,ipc,vmci,tipc}", "--with-pyzmq"]),
    ]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        assert [one for one in expected if one not in shown] == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["demoo"], "invalid choice"),
        (["demo", "--workers", "0"], "a number of workers is 1 or more, not 0"),
        (["demo", "--workers", "-1"], "a number of workers is 1 or more, not -1"),
        (["demo", "--workers", "two"], "a number of workers is 1 or more, not two"),
        (["demo", "--transport", "udp"], "invalid choice: 'udp'"),
        (["demo", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
