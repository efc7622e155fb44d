"""A table of outcomes is read as it was measured: blank values are left out and reported, never taken for 0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from slo_router.errors import SettingsError
from slo_router.operator.evaluating.table import Choice, read_prices, read_table, select

SAMPLE = Path(__file__).with_name("outcomes_sample.csv")
PROMPTS = 40


def columns(**more: Sequence[object]) -> dict[str, Sequence[object]]:
    """Forty prompts and two models: `a` is always right at 2 USD, `b` never at 1 USD."""
    made: dict[str, Sequence[object]] = {"prompt": ["what?" * 4] * PROMPTS, "category": ["x", "y"] * (PROMPTS // 2)}
    made |= {"score::a": [1] * PROMPTS, "cost::a": [2.0] * PROMPTS, "outtok::a": [100] * PROMPTS}
    made |= {"score::b": [0] * PROMPTS, "cost::b": [1.0] * PROMPTS, "outtok::b": [200] * PROMPTS}
    return made | {name.replace("__", "::"): values for name, values in more.items()}


def test_the_sample_says_what_was_left_out_and_why() -> None:
    table = read_table(SAMPLE)
    assert table.models == ["claude-3-5-sonnet-20241022", "gpt-4o-mini-2024-07-18", "gemma-2-9b-it"]
    assert table.models[table.strongest] == "claude-3-5-sonnet-20241022"
    assert table.models[table.cheapest] == "gemma-2-9b-it"
    assert set(table.categories or ()) == {"math", "math-hard", "code-reasoning"}
    assert list(table.notes) == [
        "left out, measured on less than 80% of the prompts: Qwen2.5-7B-Instruct",
        "left out, their cost is unknown: Qwen2.5-32B-Instruct",
    ]


def test_an_unmeasured_answer_takes_its_prompt_out_for_all_models() -> None:
    table = select(columns(score__b=[None, *[0] * (PROMPTS - 1)]), Choice(), "t")
    assert table.score.shape == (PROMPTS - 1, 2)
    assert table.score[:, 1].tolist() == [0.0] * (PROMPTS - 1)
    assert table.notes == [f"left out: 1 of {PROMPTS} prompts that some of the models lack"]


def test_names_choose_models() -> None:
    with pytest.raises(SettingsError, match="1 models"):
        select(columns(), Choice(leave_out=["b*"]), "t")
    assert select(columns(score__c=[1] * PROMPTS, cost__c=[1] * PROMPTS), Choice(["a", "c"]), "t").models == ["a", "c"]


def test_prices_make_costs_anew(tmp_path: Path) -> None:
    """Twenty characters are five tokens: (5 · 4 + 100 · 8) ÷ 1,000,000; a model without a price is left out."""
    file = tmp_path / "prices.csv"
    file.write_text("model,usd_per_1m_in,usd_per_1m_out,source\na,4,8,list\nb,1,1,list\n")
    table = select(columns(), Choice(prices=read_prices(file)), "t")
    assert table.cost_usd[0].tolist() == pytest.approx([820e-6, 205e-6])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"score__a": [2.0] * PROMPTS}, "score::a, row 1: 2.0, expected 0 to 1"),
        ({"cost__b": [-1.0] * PROMPTS}, "cost::b, row 1: -1.0, expected USD"),
        ({"score__a": ["good"] * PROMPTS}, "score::a: could not convert"),
        ({"score__b": [0, *[None] * (PROMPTS - 1)]}, "1 models with scores and costs are left"),
        ({"score__a": [0] * 20 + [None] * 20}, "20 prompts were measured on all models"),
    ],
)
def test_a_table_that_says_nothing_is_named(more: dict[str, Sequence[object]], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        select(columns(**more), Choice(least_measured=0.4), "t")


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(SettingsError, match="no column"):
        read_table(file)
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(SettingsError, match="expected a Parquet file"):
        read_table(tmp_path / "x.parquet")
    with pytest.raises(SettingsError, match="expected a CSV or Parquet file"):
        read_table(tmp_path / "no.csv")
    assert np.isfinite(read_table(SAMPLE).score).all()
