"""Plots are pictures that load and run nothing. Without the drawing library the page shows their numbers."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from slo_router.html_report.page import templates
from slo_router.html_report.plot import COLOURS, Axis, Plot, Point, Series, picture

NASTY = '<script>alert("x")</script>'
SVG = "{http://www.w3.org/2000/svg}"


def plot(x_axis: Axis = "log", y_axis: Axis = "log", *, lines: int = 1, name: str = "") -> Plot:
    points = [Point(10.0**i, 2.0**i, name, 1.5**i, 2.5**i) for i in range(5)]
    rows = [(f"{point.x:g}", f"{point.y:g}") for point in points]
    return Plot("A", "x", NASTY, [Series(NASTY, points)] * lines, x_axis, y_axis, head=("x", "y"), rows=rows)


def html(shown: Plot) -> str:
    page = "{% from 'figures.html.j2' import figure with context %}{{ figure(plot) }}"
    return templates(Path()).from_string(page).render(plot=shown)


@pytest.mark.parametrize("x_axis", ["log", "linear", "time"])
@pytest.mark.parametrize("y_axis", ["log", "linear"])
def test_a_picture_is_whole_and_runs_and_loads_nothing(x_axis: Axis, y_axis: Axis) -> None:
    text = picture(plot(x_axis, y_axis, name=NASTY))
    tree = ElementTree.fromstring(text)  # noqa: S314  # our own
    names = {element.tag for element in tree.iter()}
    assert names <= {SVG + name for name in ("svg", "g", "path", "line", "text")}
    assert not re.search(r"style=|href=|url\(|\son\w+=", text)  # the decision page's policy forbids styles
    assert NASTY in {element.text for element in tree.iter(SVG + "text")}


def test_a_plot_of_nothing_is_an_empty_frame() -> None:
    assert picture(Plot("A", "x", "y", [], "log", "log")).startswith("<svg")


def test_a_colour_that_comes_again_is_dashed() -> None:
    assert 'stroke-dasharray="6,4"' not in picture(plot(lines=COLOURS))
    assert 'stroke-dasharray="6,4"' in picture(plot(lines=COLOURS + 1))


def test_without_the_library_the_numbers_are_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = html(plot())
    assert "<svg" in drawn
    assert "<details>" in drawn
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    text = html(plot())
    assert "<svg" not in text
    assert "<details open>" in text
    assert "litellm-slo-router[plots]" in text
    assert NASTY not in text
