"""Renders HTML templates. A report is one file, loads nothing from elsewhere and runs no script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slo_router.contract.units import minute
from slo_router.html_report.plot import COLOURS, picture

if TYPE_CHECKING:
    from jinja2 import Environment


def templates(folder: Path) -> Environment:
    """A Jinja environment of the templates in `folder` and beside this module. It escapes all values."""
    # Imported here because few commands need it, and the import takes 0.1 s.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    made = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(picture=picture, minute=minute)
    made.globals.update(colours=COLOURS)
    return made
