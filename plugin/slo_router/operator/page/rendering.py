"""Templates to HTML, and HTML forms to fields."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from slo_router.html_report.page import templates
from slo_router.operator.commands.terminal import between, percent, usd
from slo_router.operator.page.cells import BAR
from slo_router.operator.page.guard import read_body
from slo_router.operator.page.why import moment

PAGES = (("", "Now"), ("decisions", "Decisions"), ("quality", "Quality"), ("what-if", "What if"))
MOST_FIELDS = 50


class Templates:
    """The page's templates. They escape every value."""

    def __init__(self) -> None:
        self._environment = templates(Path(__file__).parent / "templates")
        self._environment.filters.update(usd=usd, percent=percent, between=between)
        self._environment.globals.update(pages=PAGES, bar=BAR, moment=moment)

    def show(self, name: str, status: int = 200, **values: object) -> HTMLResponse:
        """Renders one page with HTTP `status`."""
        return HTMLResponse(self._environment.get_template(name).render(**values), status)


async def read_form(request: Request, most: int) -> dict[str, str]:
    """The fields of a URL-encoded form of at most `most` bytes. Starlette's own reader needs a further package.

    Raises HTTPException 413 for a larger form, or for more than `MOST_FIELDS` fields.
    """
    text = (await read_body(request, most)).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise HTTPException(413, f"expected at most {MOST_FIELDS} fields") from None
