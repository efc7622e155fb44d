"""The agent's HTML report in a real browser: it fits a desk and a phone, and the browser reports no problem.

PAGE_SCREENSHOTS=DIR keeps the pictures.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from slo_bench.gate.entry import Entry
from slo_bench.show.page import as_html
from slo_bench.show.rows import Page, Past, RatePoint, Value
from tests.e2e.chromium import browser, program
from tests.shared.needed import needed

pytestmark = pytest.mark.slow

SIZES = {"desk": (1280, 900), "phone": (390, 844)}
MODELS = ("qwen-7b", "llama-8b", "mistral-24b", "gpt-5-mini", "claude-haiku", "qwen-72b", "gpt-5")
NOW_S, DAY_S = 1_700_000_000.0, 86_400.0


def page() -> Page:
    """Seven deployments in two categories, twenty days, and a sweep."""
    rng = random.Random(1)
    cells = [(number, name, category) for number, name in enumerate(MODELS) for category in ("ner", "reasoning")]
    courses = tuple((NOW_S + day * DAY_S, 0.1 * rng.uniform(0.8, 1.2)) for day in range(20))
    rates = [(tokens, 0.5 * 2**step) for tokens in (128, 1_024, 4_096) for step in range(7)]
    return Page(
        "Measured deployments",
        NOW_S,
        tuple(
            Entry("latency", NOW_S, name, "m", category, 50, {"error_rate": 0.0, "ttft_p50_s": 0.1 * (n + 1)}, "f", "0")
            for n, name, category in cells
        ),
        tuple(RatePoint("qwen-7b", tokens, rate, 0.05, 0.05 + tokens * rate / 1e5, 0.9) for tokens, rate in rates),
        tuple(
            Value(name, category, 4e-4 * 3**n, 0.5 + 0.06 * n, 0.45 + 0.06 * n, 0.55 + 0.06 * n, 100)
            for n, name, category in cells
        ),
        tuple(Past(name, category, "ttft_p50_s", courses) for _, name, category in cells),
    )


def test_it_fits_a_desk_and_a_phone_and_the_browser_complains_of_nothing(tmp_path: Path) -> None:
    with needed():
        program()
    file = tmp_path / "report.html"
    file.write_text(as_html(page()), encoding="utf-8")
    pictures = Path(os.environ.get("PAGE_SCREENSHOTS", tmp_path))
    with browser() as tab:
        for name, (width, height) in SIZES.items():
            tab.resize(width, height)
            tab.open(file.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
            outside = "[...document.querySelectorAll('svg text')].filter(one => one.getBoundingClientRect().left < 0)"
            assert tab.evaluate(f"{outside}.length") == 0, name
            tab.screenshot(pictures / f"bench-{name}.png")
        assert {"image", "table", "heading"} <= tab.roles()
        assert tab.problems == []
