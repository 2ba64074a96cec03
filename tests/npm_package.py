"""Where the npm package zeromq is: libzmq 4.3.5 with the draft types that pyzmq's wheels lack, for tests and benchmarks.

It is looked for in the folder that TRIMQ_NPM names, else in one of the user's cache; where it is in neither, it is
installed there, outside the project. Not here: what is done with it, and pytest.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["npm_folder"]


@functools.cache
def npm_folder() -> Path:
    """The folder whose ``node_modules`` has the package, as scripts get it in NPM_ZEROMQ.

    Raises:
      LookupError: it cannot be had here; says why.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = Path(os.environ.get("TRIMQ_NPM") or cache / "trimq-npm")
    if shutil.which("node") is None:
        raise LookupError("no node here, which the npm package zeromq needs")
    if not (found / "node_modules/zeromq").is_dir():
        npm = shutil.which("npm")
        if npm is None:
            raise LookupError("no npm here to install the package zeromq with")
        found.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(found), "--no-audit", "--no-fund", "zeromq@6"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise LookupError(f"the npm package zeromq cannot be had here: {done.stderr[-200:]}")
    return found
