"""Makes HTML of templates. A report is one file that loads nothing from elsewhere, and in which no script runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slo_router.contract.units import minute
from slo_router.html_report.plot import COLOURS, picture

if TYPE_CHECKING:
    from jinja2 import Environment


def templates(folder: Path) -> Environment:
    """The templates in `folder`, beside those here. What is put into them is escaped."""
    # Imported here because few commands need it, and it takes a tenth of a second.
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
