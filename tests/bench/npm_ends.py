"""How an end becomes the npm package zeromq in node: what npm_ends.mjs has under that name, in this very process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

sys.path.append(str(Path(__file__).parents[1]))  # tests/, as pytest has it

from npm_package import npm_folder

__all__ = ["become"]


def become(end: str, endpoint: str, options: dict[str, Any]) -> NoReturn:
    """Runs the end ``end`` of npm_ends.mjs instead of this program."""
    script = str(Path(__file__).with_suffix(".mjs"))
    environment = {**os.environ, "NPM_ZEROMQ": str(npm_folder()), "NODE_NO_WARNINGS": "1"}
    os.execvpe("node", ["node", script, end, endpoint, json.dumps(options)], environment)
