"""The version: the one place that says it. The build reads this file; nothing else lives here."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
