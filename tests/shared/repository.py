"""The root folder of the repository, for tests of its documents, manifests and commands."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
