"""docs/shadow-evaluation.md has the figures that the two studies of shadow evaluation saved."""

from __future__ import annotations

from evaluation.shared.results import FOLDER, ROOT, load

PAGE = " ".join((ROOT / "docs" / "shadow-evaluation.md").read_text(encoding="utf-8").split())


def test_pairs_that_it_takes() -> None:
    for world, rows in load(FOLDER / "quality.paired_choice.json")[0]["figures"]["worlds"].items():
        ratios = [rows[way]["ratio"] for way in ("all pairs", "with largest")]
        said = (f"{one['value']:.2f} ({one['low']:.2f}–{one['high']:.2f})" for one in ratios)
        found = (f"{rows[way]['found']:.0f} %" for way in ("by worth", "all pairs", "with largest"))
        assert f"| {world} | {rows['by worth']['pairs']['value']:,.0f} | {' | '.join([*said, *found])} |" in PAGE


def test_floors_that_are_violated() -> None:
    for judge, amounts in load(FOLDER / "quality.paired_coverage.json")[0]["figures"]["judges"].items():
        kinds = ("of all cells", "of those that reach it", "of those taken")
        worst = (f"{max(row[kind] for row in amounts.values()):.1f}" for kind in kinds)
        assert f"| {judge} | {' | '.join(worst)} |" in PAGE
