"""How often is the category of a request right, how often unsure, and what does finding it cost?

    python -m evaluation.routing.categorizer

The list `data/prompts.jsonl` holds 200 prompts of our own, 40 per category, half train, half test (a random half of
each category); the sentences of its long documents are drawn from a pool and filled with random names and numbers. The
rules were tuned on train, their vocabulary of mathematics also on GSM8K and MATH. One author wrote both the prompts and
the rules, so expect less on foreign traffic. Accuracy counts "unsure" as not right; precision leaves it out. The
article knows three categories: its accuracy on prompts of these three is given beside the one on all.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Literal

import typer
from pydantic import BaseModel, ConfigDict
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from evaluation.shared.results import Save, save
from slo_router.contract.model import CATEGORIES
from slo_router.request.categories import Categorizer, article, instruction_windows, rules

PROMPTS = Path(__file__).parents[1] / "data" / "prompts.jsonl"
ARTICLE_CATEGORIES = ("ner", "summarization", "reasoning")
CATEGORIZERS: dict[str, Categorizer] = {"rules": rules(), "article": article}
SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")
UNSURE = "unsure"
LONG_CHARS = 3_000  # prompts of this length are documents with an instruction


class LabelledPrompt(BaseModel):
    """One line of the list: a request's messages and the category that a reader gave them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    category: Literal["ner", "summarization", "reasoning", "code", "chat"]
    split: Literal["train", "test"]
    messages: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a categorizer said (or `UNSURE`) about one labelled prompt."""

    prompt: LabelledPrompt
    said: str

    @property
    def correct(self) -> bool:
        """Whether it said what the reader said."""
        return self.said == self.prompt.category


def load_prompts(path: Path = PROMPTS) -> list[LabelledPrompt]:
    """The labelled list; raises pydantic.ValidationError naming the field of a bad line."""
    return [LabelledPrompt.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def outcomes(categorizer: Categorizer, prompts: Sequence[LabelledPrompt]) -> list[Outcome]:
    """Categorize each prompt from its windows, as on the request path."""
    return [Outcome(prompt, categorizer(instruction_windows(prompt.messages)) or UNSURE) for prompt in prompts]


def accuracy(results: Sequence[Outcome], categories: Sequence[str] = CATEGORIES) -> float:
    """Share of right answers among prompts of these categories, 0..1; unsure is not right."""
    counted = [result.correct for result in results if result.prompt.category in categories]
    return sum(counted) / len(counted)


def call_us(categorizer: Categorizer, words: int, repeats: int = 3_000) -> tuple[float, float]:
    """Microseconds (p50, p99) of windows and categorizer together, on an extraction from a text of `words` words."""
    contents = (str(prompt.messages[-1]["content"]) for prompt in load_prompts())
    document = [word for content in contents if len(content) > LONG_CHARS for word in content.split()]
    text = " ".join((document * (words // len(document) + 1))[-words:])
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": f"Extract all names and dates.\n\n{text}"},
    ]
    spent = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        categorizer(instruction_windows(messages))
        spent.append((time.perf_counter_ns() - start) / 1_000)
    cuts = quantiles(spent, n=100)
    return cuts[49], cuts[98]


def accuracy_table(by_run: dict[tuple[str, str], list[Outcome]]) -> Table:
    """One row per split and categorizer."""
    table = Table("", "right", "unsure", "wrong", "of all", "of 3", "of sure", "coverage", title="Accuracy", box=SIMPLE)
    table.caption = "right of all, of those in the article's three categories, of those it was sure about"
    for (split, name), results in by_run.items():
        right = sum(result.correct for result in results)
        sure = sum(result.said != UNSURE for result in results)
        counts = (right, len(results) - sure, sure - right)
        shares = (accuracy(results), accuracy(results, ARTICLE_CATEGORIES), right / sure, sure / len(results))
        table.add_row(f"{split} {name}", *map(str, counts), *(f"{share:.0%}" for share in shares))
    return table


def confusion_table(title: str, results: Sequence[Outcome]) -> Table:
    """Rows: the label; columns: what was said."""
    count: Counter[tuple[str, str]] = Counter((result.prompt.category, result.said) for result in results)
    table = Table("label \\ said", *CATEGORIES, UNSURE, title=title)
    for label in CATEGORIES:
        table.add_row(label, *(str(count[label, said] or "·") for said in (*CATEGORIES, UNSURE)))
    return table


def speed_table() -> Table:
    """Windows and categorizer together, by prompt length."""
    table = Table("words", "categorizer", "p50 µs", "p99 µs", title="Time of one call, windows included")
    for words in (200, 2_000, 20_000):
        for name, categorizer in CATEGORIZERS.items():
            p50_us, p99_us = call_us(categorizer, words)
            table.add_row(f"{words:,}", name, f"{p50_us:.1f}", f"{p99_us:.1f}")
    return table


def figures(by_run: Mapping[tuple[str, str], Sequence[Outcome]]) -> dict[str, object]:
    """For docs/evidence.md: what was said of the prompts of the split `test`."""
    return {
        name: {
            "prompts": len(results),
            "right": sum(one.correct for one in results),
            "unsure": sum(one.said == UNSURE for one in results),
            "of_the_articles_categories": sum(one.prompt.category in ARTICLE_CATEGORIES for one in results),
            "right_of_these": sum(one.correct and one.prompt.category in ARTICLE_CATEGORIES for one in results),
        }
        for (split, name), results in by_run.items()
        if split == "test"
    }


def main(*, is_saved: Save = False) -> None:
    """How often the category of a request is right, how often unsure, and what finding it costs."""
    console = Console()
    prompts = load_prompts()
    by_run: dict[tuple[str, str], list[Outcome]] = {
        (split, name): outcomes(categorizer, [prompt for prompt in prompts if prompt.split == split])
        for split in SPLITS
        for name, categorizer in CATEGORIZERS.items()
    }
    console.print(accuracy_table(by_run))
    for (split, name), results in by_run.items():
        console.print(confusion_table(f"{name} on {split}", results))
    console.print(speed_table())
    for split in SPLITS:
        missed = [f"{r.prompt.id} → {r.said}" for r in by_run[split, "rules"] if not r.correct]
        console.print(f"Where rules lose on {split}: {', '.join(missed)}")
    if is_saved:
        save(figures(by_run))


if __name__ == "__main__":
    typer.run(main)
