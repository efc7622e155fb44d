"""How often is the category of a request right, and how often unsure?

    python -m evaluation.routing.categorizer

The list `data/prompts.jsonl` holds 200 prompts of our own, 40 per category: a random half of each category is train,
the rest is test. The sentences of its long documents are drawn from a pool and filled with random names and numbers.
The rules were tuned on train, their vocabulary of mathematics also on GSM8K and MATH. One author wrote both the prompts
and the rules, so expect less on other traffic. Accuracy counts "unsure" as not right; precision leaves it out. The
article knows three categories: its accuracy is given on prompts of these three, and on all prompts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    """The share of prompts of these categories that were named right, 0..1; unsure is not right."""
    counted = [result.correct for result in results if result.prompt.category in categories]
    return sum(counted) / len(counted)


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
    """Rows are labels, columns what the categorizer said."""
    count: Counter[tuple[str, str]] = Counter((result.prompt.category, result.said) for result in results)
    table = Table("label \\ said", *CATEGORIES, UNSURE, title=title)
    for label in CATEGORIES:
        table.add_row(label, *(str(count[label, said] or "·") for said in (*CATEGORIES, UNSURE)))
    return table


def figures(by_run: Mapping[tuple[str, str], Sequence[Outcome]]) -> dict[str, object]:
    """For docs/evidence.md: how the prompts of the split `test` were named."""
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
    """How often the category of a request is right, and how often unsure."""
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
    for split in SPLITS:
        missed = [f"{r.prompt.id} → {r.said}" for r in by_run[split, "rules"] if not r.correct]
        console.print(f"Where rules lose on {split}: {', '.join(missed)}")
    if is_saved:
        save(figures(by_run))


if __name__ == "__main__":
    typer.run(main)
