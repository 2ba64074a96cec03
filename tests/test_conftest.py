"""The rule of tests/conftest.py: in continuous integration a skip is red unless its reason is an allowed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_passes():
    pass

def test_platform():
    pytest.skip("platform: this kernel has no such family")

@pytest.mark.xfail(reason="a known gap", strict=True)
def test_known_gap():
    raise AssertionError

@pytest.mark.skipif(True, reason="no peer here")
def test_marked():
    pass

def test_called():
    pytest.skip("not today")
"""

WHOLE_FILE = """
import pytest

pytest.importorskip("no_such_peer")
"""

IN_CI = pytest.mark.parametrize("environment", [{"CI": "true"}, {"TRIMQ_CI": "1"}], ids=["CI", "TRIMQ_CI"])


def run_sample(folder: Path, source: str, **environment: str) -> tuple[int, str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder / "conftest.py")
    (folder / "test_sample.py").write_text(source)
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "TRIMQ_CI", "PYTEST_ADDOPTS")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio", "--rootdir", "."],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@IN_CI
def test_a_skip_is_red_in_ci(tmp_path: Path, environment: dict[str, str]) -> None:
    """Marked or called, it fails and is named with its reason; an allowed reason and an xfail do not."""
    code, output = run_sample(tmp_path, TESTS, **environment)
    assert code == 1, output
    # the marked one fails before it runs, which pytest counts as an error
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error" in output
    assert "no peer here" in output
    assert "not today" in output


@IN_CI
def test_a_file_skipped_whole_is_red_in_ci(tmp_path: Path, environment: dict[str, str]) -> None:
    code, output = run_sample(tmp_path, WHOLE_FILE, **environment)
    assert code not in (0, 5), output
    assert "no_such_peer" in output
    assert "1 error" in output


def test_a_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    code, output = run_sample(tmp_path, TESTS)
    assert code == 0, output
    assert "1 passed, 3 skipped, 1 xfailed" in output
