"""Writes Grafana's dashboards from `panels`:  python -m deploy.grafana.generate

The JSON is committed, for Grafana reads files; a test says when they are behind.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.panels import BOARDS, Board, Panel
from grafana_foundation_sdk.builders import stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, LineInterpolation, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    VariableRefresh,
)

DIRECTORY = Path(__file__).with_name("dashboards")
SOURCE = DataSourceRef("prometheus", "${datasource}")
HEIGHT = {"stat": 4}
HEIGHT_ELSE = 9


def rendered(board: Board) -> str:
    """One dashboard as Grafana reads it."""
    dashboard = (
        Dashboard(board.title)
        .uid(board.uid)
        .tags(["litellm", "slo-router"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_groups())
    )
    for title, panels in board.rows.items():
        dashboard = dashboard.with_row(Row(title))
        for panel in panels:
            dashboard = dashboard.with_panel(_stat(panel) if panel.kind == "stat" else _graph(panel))
    return json.dumps(dashboard.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _groups() -> QueryVariable:
    return (
        QueryVariable("group")
        .label("Group")
        .datasource(SOURCE)
        .query("label_values(slo_router_slo_total, group)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
    )


def _stat(panel: Panel) -> stat.Panel:
    made = (
        stat.Panel()
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .span(panel.width)
        .height(HEIGHT["stat"])
        .datasource(SOURCE)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for query in _queries(panel):
        made = made.with_target(query.instant())
    return made


def _graph(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .axis_soft_min(0)
        .span(panel.width)
        .height(HEIGHT_ELSE)
        .datasource(SOURCE)
        .line_width(1.5)
        .fill_opacity(25 if panel.kind == "stacked" else 0)
        .override_by_regexp("limit$|^baseline$", [DynamicConfigValue("custom.lineStyle", {"fill": "dash"})])
        .legend(
            VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)  # noqa: FBT003
        )
    )
    if panel.kind == "stacked":
        made = made.stacking(StackingConfig().mode(StackingMode.NORMAL))
    if panel.kind == "steps":
        made = made.line_interpolation(LineInterpolation.STEP_AFTER)
    for query in _queries(panel):
        made = made.with_target(query.range())
    return made


def _queries(panel: Panel) -> list[Dataquery]:
    return [
        Dataquery().ref_id(chr(ord("A") + position)).expr(query.expr).legend_format(query.legend).datasource(SOURCE)
        for position, query in enumerate(panel.queries)
    ]


def files() -> dict[Path, str]:
    """What each file must hold."""
    return {DIRECTORY / f"{board.uid}.json": rendered(board) for board in BOARDS}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
