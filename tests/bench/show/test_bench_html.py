"""The HTML report: self-contained, every plot with its numbers, the Pareto front, and nothing that isn't escaped."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from evaluation.emulator import Handle
from slo_bench.cli import app
from slo_bench.gate.entry import Entry
from slo_bench.gate.history import HistoryCell, record
from slo_bench.show import measured
from slo_bench.show.page import as_html
from slo_bench.show.plots import past_plots, rate_plots, value_plots
from slo_bench.show.rows import Page, Past, RatePoint, Value, pareto_front
from slo_router.contract.redis.link import connect
from slo_router.html_report.plot import picture

NASTY = '<script>alert("x")</script>'


def entry(kind: str, at_s: float, **figures: float) -> Entry:
    scores = {str(i): float(i < 7) for i in range(10)} if kind == "quality" else {}
    return Entry(kind, at_s, "small", "openai/m", "ner", 10, figures, "f", "0", scores)  # type: ignore[arg-type]


def value(name: str, cost: float, quality: float, category: str = "ner") -> Value:
    return Value(name, category, cost, quality, quality - 0.05, quality + 0.05, 40)


PAGE = Page(
    "Measured deployments",
    1_700_000_000.0,
    latencies=(replace(entry("latency", 1_700_000_000.0, error_rate=0.1, ttft_p50_s=0.0123), deployment=NASTY),),
    rates=tuple(RatePoint("a", 128, rate, 0.1, 0.1 * rate, 0.9, None) for rate in (1.0, 2.0, 4.0)),
    values=(value("a", 0.001, 0.7), value(NASTY, 0.01, 0.6)),
    past=(Past("a", "ner", "ttft_p50_s", ((1_700_000_000.0, 0.1), (1_700_086_400.0, 0.2))),),
)


class Balance(HTMLParser):
    """Checks that opened tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("page", [PAGE, Page("Nothing", 0.0)], ids=["full", "empty"])
def test_the_page_is_whole_loads_nothing_and_runs_nothing(page: Page) -> None:
    text = as_html(page)
    reader = Balance()
    reader.feed(text)
    assert reader.open == []
    assert not {"script", "link", "img", "iframe"} & set(reader.seen)
    assert not re.search(r"(?<!xmlns=\")(?<!xmlns:xlink=\")https?://|url\(|@import|\son\w+=", text)
    assert "&lt;script&gt;" in text or page is not PAGE


def test_every_plot_has_its_numbers_and_a_name_for_who_cannot_see_it() -> None:
    text = as_html(PAGE)
    assert text.count("<svg ") == text.count("<details") == 3
    assert len(re.findall(r'role="img" aria-label="[^"]+"><svg ', text)) == 3
    for number in ("12.3", "0.650 to 0.750", "400.0", "90%", "2023-11-15 22:13"):
        assert f"<td>{number}</td>" in text
    assert "<td>–</td>" in text  # unmeasured is no 0


def test_the_front_is_what_nothing_beats() -> None:
    values = (value("dear", 9.0, 0.9), value("cheap", 1.0, 0.5), value("worse", 2.0, 0.4), value("same", 3.0, 0.5))
    assert [one.deployment for one in pareto_front(values)] == ["cheap", "dear"]
    (plot,) = value_plots(values)
    assert [row[-1] for row in plot.rows] == ["yes", "", "", "yes"]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 1)), min_size=1, max_size=8))
def test_whatever_is_not_on_the_front_is_beaten_by_something_on_it(found: list[tuple[float, float]]) -> None:
    values = tuple(value(str(i), cost, quality) for i, (cost, quality) in enumerate(found))
    front = pareto_front(values)
    for one in values:
        beaten = any(f.cost_per_1k_usd <= one.cost_per_1k_usd and f.quality >= one.quality for f in front)
        assert one in front or beaten


def test_a_deployment_that_answered_nothing_has_a_plot_all_the_same() -> None:
    (plot,) = rate_plots([RatePoint("a", 128, 1.0, None, None, 0.0, "collapsed")])
    assert plot.rows == [("128", "1", "–", "–", "0%", "collapsed")]
    assert picture(plot).startswith("<svg")


def test_what_is_free_stands_left_of_what_is_not_and_its_table_says_so() -> None:
    (plot,) = value_plots([value("a", 0.0, 0.7), value("b", 0.02, 0.8)])
    free, paid = plot.series[0].points
    assert 0 < free.x < paid.x == 0.02
    assert plot.rows[0][:2] == ("a", "0")


def test_a_figure_of_zeros_alone_has_no_plot() -> None:
    courses = [
        Past("a", "ner", name, ((1.0, 0.0), (2.0, value))) for name, value in (("error_rate", 0.0), ("ttft_p50_s", 1))
    ]
    assert [plot.title for plot in past_plots(courses)] == ["TTFT, median · ner"]


def test_the_history_gives_the_last_runs_the_courses_and_the_prices_of_quality() -> None:
    latency = [entry("latency", 1.0, ttft_p50_s=0.1), entry("latency", 2.0, ttft_p50_s=0.2, cost_per_1k_usd=0.01)]
    found = {
        HistoryCell("latency", "small", "ner"): latency,
        HistoryCell("quality", "small", "ner"): [entry("quality", 3.0, quality_score=0.7)],
        HistoryCell("quality", "large", "ner"): [entry("quality", 3.0, quality_score=0.9)],  # its price is unknown
    }
    assert [(row.at_s, row.figures["ttft_p50_s"]) for row in measured.latencies(found)] == [(2.0, 0.2)]
    (only,) = measured.values(found)
    assert (only.cost_per_1k_usd, only.quality) == (0.01, 0.7)
    assert only.low is not None
    assert only.high is not None
    assert only.low < 0.7 < only.high
    courses = {(one.deployment, one.figure): one.points for one in measured.courses(found)}
    assert courses["small", "ttft_p50_s"] == ((1.0, 0.1), (2.0, 0.2))


def test_a_run_and_the_report_write_the_page(tmp_path: Path, fleet: list[Handle], valkey_url: str) -> None:
    models = [
        {
            "model_name": "smart",
            "litellm_params": {"model": "openai/m", "api_base": handle.api_base, "input_cost_per_token": 1e-6}
            | {"output_cost_per_token": 1e-6},
            "model_info": {"id": handle.name},
        }
        for handle in fleet
    ]
    settings = {"slo_router": {"redis_url": valkey_url, "groups": {"smart": {}}}}
    config, page = tmp_path / "c.yaml", tmp_path / "page.html"
    config.write_text(json.dumps({"model_list": models, "callback_settings": settings}))

    def written(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--config", str(config), "--html", str(page)])
        assert result.exit_code == 0, result.output
        return page.read_text()

    async def grade() -> None:
        link = connect(valkey_url)
        await record(link, "", entry("quality", 3.0, quality_score=0.7))
        await link.aclose()

    prompt = {"category": "ner", "max_tokens": 8, "messages": [{"role": "user", "content": "Who?"}]}
    (tmp_path / "prompts.jsonl").write_text(json.dumps(prompt))
    quick = ("run", "--requests", "2", "--workload", str(tmp_path / "prompts.jsonl"), "--warmup", "0")
    assert "<td>small</td>" in written(*quick, "--no-publish")
    assert "Quality against cost" not in written(*quick)
    asyncio.run(grade())
    text = written("report")
    assert "Quality against cost" in text
    assert str(fleet[0].port) not in text
    missing = CliRunner().invoke(app, ["report", "--config", str(config), "--html", str(tmp_path / "no" / "page.html")])
    assert missing.exit_code == 2
    assert "expected a file that can be written" in missing.stderr
