"""docs/metrics.md names every metric and figure of the code, with its labels, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from slo_bench.summary.results import CellResult
from slo_bench.summary.stats import CellStats
from slo_router.contract.latency_fit import FIT_FIELDS
from slo_router.contract.metrics_hash import ANSWER_FAULT, ANSWER_FAULT_MOMENT, METRICS_FIELDS, QUALITY_HELD
from slo_router.contract.model import Outlook
from slo_router.contract.record import RequestRecord
from slo_router.decision.explain import span_attributes
from slo_router.operator.replay.replay import Counts
from slo_router.operator.replay.replay_outcome import Attainment, Cost, Outcome
from slo_router.operator.reporting.rows import QualityRow, Row
from slo_router.telemetry.telemetry import Telemetry
from tests.shared.builders import decided
from tests.shared.record_builders import BOTH, LARGE, SMALL
from tests.shared.repository import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
NAMES = {"name", "deployment", "category"}  # names of rows, not figures
FOR_PEOPLE = {"quality_timestamp"}  # in the hash, but the router does not read it
PARTS = {"counts", "cost", "share", "interval"}  # parts of a replay's outcome, whose figures have their own names


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the tables under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    for line in re.findall(r"^\| (`.*)\|$", section, re.MULTILINE):
        yield [cell.strip() for cell in line.split(" |")]


def named(heading: str) -> list[str]:
    """The figures of the section, in order."""
    return [name for cells in rows(heading) for name in re.findall(r"`(\w+)`", cells[0])]


def test_every_metric_is_named_with_its_labels() -> None:
    registry = CollectorRegistry()
    Telemetry({}, registry, 0.0, label_teams=1, label_keys=1)
    metrics = [one for one in registry._collector_to_names if isinstance(one, MetricWrapperBase)]
    suffix = {"counter": "_total"}
    known = {one._name + suffix.get(str(one._type), ""): ", ".join(one._labelnames) for one in metrics}
    assert {cells[0].strip("`"): cells[1] for cells in rows("On the proxy's /metrics")} == known


def test_every_attribute_of_a_span_is_named() -> None:
    decision = decided([SMALL, LARGE], snapshot=BOTH)._replace(outlook=Outlook(0.9, 0.1, 0.2))
    written = [name for cells in rows("On the request's span") for name in re.findall(r"`(slo_router\.\w+)`", cells[0])]
    assert sorted(written) == sorted(span_attributes(decision, shadow=False))


def test_every_field_of_the_metrics_hash_is_named() -> None:
    written = named("The metrics hash")
    beside = {ANSWER_FAULT, ANSWER_FAULT_MOMENT, QUALITY_HELD, *FOR_PEOPLE}
    assert sorted(written) == sorted({*METRICS_FIELDS, *FIT_FIELDS, *beside})


def test_every_measured_field_of_a_record_is_named() -> None:
    of_measurements = {
        name
        for name, field in RequestRecord.model_fields.items()
        if field.annotation in (float, int | None, float | None)
    }
    assert set(named("The request record")) == of_measurements | {"slo_met", "attempts"}


def test_every_figure_of_report_and_replay_is_named() -> None:
    reported = {field.name for kind in (Row, QualityRow) for field in fields(kind)} - NAMES
    assert set(named("In slo-router report")) == reported
    replayed = {field.name for kind in (Outcome, Attainment, Cost, Counts) for field in fields(kind)} - PARTS
    assert set(named("In slo-router replay")) == replayed


def test_every_figure_of_a_cell_is_named() -> None:
    computed = {name for name, kind in vars(CellStats).items() if isinstance(kind, property)}
    figures = {field.name for field in fields(CellStats)} | computed | {"cost_per_1k_usd", "lag"}
    assert {"cost_per_1k_usd", "lag"} <= set(dir(CellResult))
    document = (ROOT / "benchmark" / "slo_bench" / "show" / "documents.py").read_text(encoding="utf-8")
    printed = set(re.findall(r'^ +"([a-z_0-9]+)": ', document, re.MULTILINE))
    written = set(named("Of one cell in the agent"))
    assert figures <= written <= figures | printed


def test_every_row_says_formula_unit_source_and_use() -> None:
    for heading in re.findall(r"^## (.+)$", PAGE, re.MULTILINE):
        for cells in rows(heading):
            assert len(cells) == (6 if heading.startswith("On the proxy") else 5), cells
            assert all(cells[2:]), cells
