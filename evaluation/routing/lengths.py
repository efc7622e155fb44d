"""What requests are predicted to cost against what they are billed, where models write answers of unlike length.

    python -m evaluation.routing.lengths [--repeats 3] [--prompts 2000] [--save]

There are three fleets. One is emulated: its answers are 0.5, 1, 3 and 8 times as long as those of a public chat
service, and half of its requests have a limit of the client's. The other two have five models each, drawn from two
tables of recorded answers. Every model of a fleet answers each request, in an order drawn anew in each repeat. The
plugin's own strategy decides and learns, as one worker in virtual time. Before that, a benchmark measured 20 answers of
each model and category. The study also shows the assumption of LiteLLM's cost-based strategy: all models write answers
of one length.

No router can predict a single answer: `single` is the median error of one request. A router needs the expected cost.
`100` is the median error of the sum over a hundred consecutive requests of a deployment and category. `bias` is the
error of the sum over all requests. `in 90 %` is the share of requests that cost within their predicted 90 % interval.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from evaluation.shared.results import Aim, Save, conclude
from evaluation.shared.traffic import ANSWERS, GENEROUS, PROMPTS, SETS_LIMIT, SETS_TIGHT, TIGHT, Ask, Habits, prose
from slo_router.contract.model import Facts, Metrics
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings
from slo_router.request.slo import SloInputs
from slo_router.worker.records import build_record
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace

DATA = Path(__file__).parents[3] / "shared" / "data"
TABLES = ("outcomes_mmlupro.parquet", "outcomes_zeroeval.parquet")
COLUMN, MODELS = "outtok::", 5
COMPLETE = 0.95  # a model must have answered more than this share of the prompts
HIDDEN = ("o1-",)  # their hidden tokens are billed, but not in the table
VERBOSITIES = {"half": 0.5, "one": 1.0, "three": 3.0, "eight": 8.0}
CATEGORY_FACTORS = {"ner": 0.4, "chat": 1.0, "code": 1.5, "reasoning": 2.5}  # on an answer's length; assumed
WOBBLE = 0.5  # of one model's length beside another's, from prompt to prompt; 0.3 to 0.7 in recorded answers
INPUT_USD, OUTPUT_USD = 1e-6, 4e-6
MEASURED = 20  # answers of each model and category
BLOCK = 100
MOST_ERROR, MOST_BIAS, COVERED = 0.10, 0.03, (0.85, 0.95)
GROUP, START_S = "lengths", 1_750_000_000.0


class Prompt(NamedTuple):
    """One request, and the tokens of each model's answer if nothing stops it."""

    category: str
    text: str
    limit_tokens: int | None
    answers: dict[str, int]


class Bill(NamedTuple):
    """The predicted and the billed cost of one request, in USD. `alike`: the cost if all models wrote alike."""

    model: str
    category: str
    predicted_usd: float
    billed_usd: float
    alike_usd: float
    is_within: bool


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one deployment. All except `requests` are shares."""

    model: str
    requests: int
    bias: float
    hundred: float
    single: float
    within: float
    alike: float


def emulated(count: int, rng: random.Random) -> list[Prompt]:
    """The prompts of the emulated fleet."""
    made = []
    for _ in range(count):
        category = rng.choice(list(CATEGORY_FACTORS))
        limit = None
        if rng.random() < SETS_LIMIT:
            limit = rng.choice(TIGHT if rng.random() < SETS_TIGHT else GENEROUS)
        ask = Ask("chat", stream=True, text_tokens=0, answer_tokens=ANSWERS.draw(rng))
        ask = ask._replace(answer_tokens=max(1, round(ask.answer_tokens * CATEGORY_FACTORS[category])))
        answers = {name: Habits(factor, WOBBLE).answer_tokens(ask, rng) for name, factor in VERBOSITIES.items()}
        made.append(Prompt(category, prose(4 * PROMPTS.draw(rng)), limit, answers))
    return made


def recorded(path: Path, count: int, rng: random.Random) -> list[Prompt]:
    """The prompts of a table that all of the drawn models answered."""
    table = pq.read_table(path)
    names = [name.removeprefix(COLUMN) for name in table.column_names if name.startswith(COLUMN)]
    tokens_of = {name: table[COLUMN + name].to_pylist() for name in names if not name.startswith(HIDDEN)}
    drawn = rng.sample(
        [name for name, own in tokens_of.items() if sum(map(_is_known, own)) > COMPLETE * len(own)], MODELS
    )
    columns = [tokens_of[name] for name in drawn]
    made = []
    for category, text, *tokens in zip(
        table["category"].to_pylist(), table["prompt"].to_pylist(), *columns, strict=True
    ):
        if all(map(_is_known, tokens)):
            answers = {name: max(1, round(one)) for name, one in zip(drawn, tokens, strict=True)}
            made.append(Prompt(category.replace(" ", "-"), text, None, answers))
    return rng.sample(made, min(count, len(made)))


def _is_known(tokens: float | None) -> bool:
    return tokens is not None and tokens > 0  # NaN is not


def bills(prompts: Sequence[Prompt]) -> Iterator[Bill]:
    """The bills of every model for every prompt. The first prompts of each category go to the benchmark instead."""
    now_s, models = START_S, list(prompts[0].answers)
    categories = sorted({one.category for one in prompts})
    settings = GroupSettings(categories={name: [name] for name in categories})
    made = Strategy(PluginSettings(groups={GROUP: settings}), MetricsStore(""), lambda: now_s)
    facts = {name: Facts(name, name, None, None, INPUT_USD, OUTPUT_USD) for name in models}
    made.know(ManagedDeployment(GROUP, one) for one in facts.values())
    by_category = {name: [one for one in prompts if one.category == name] for name in categories}
    measured = [one for own in by_category.values() for one in own[:MEASURED]]
    made.store.snapshot = make_snapshot(_benchmark(models, measured), START_S)
    mean = statistics.fmean(tokens for one in measured for tokens in one.answers.values())
    first = set(map(id, measured))
    for prompt in prompts:
        if id(prompt) in first:
            continue
        now_s += 1
        made.absorb(())
        for model in models:
            yield _bill(made, prompt, facts[model], mean)


def _benchmark(models: Sequence[str], prompts: Sequence[Prompt]) -> dict[str, dict[str, Metrics]]:
    found: dict[str, dict[str, Metrics]] = {}
    for model, category in itertools.product(models, sorted({one.category for one in prompts})):
        tokens = [one.answers[model] for one in prompts if one.category == category]
        mean = statistics.fmean(tokens)
        found.setdefault(model, {})[category] = Metrics(START_S, output_tokens_mean=mean, samples=len(tokens))
    return found


def _bill(made: Strategy, prompt: Prompt, facts: Facts, mean: float) -> Bill:
    """Takes one request through the strategy, from its arrival to its record."""
    model, limit = facts.deployment_id, prompt.limit_tokens
    trace = Trace("acompletion", START_S, group=GROUP)
    made.read_request(GROUP, trace, SloInputs(headers={"x-slo-category": prompt.category}))
    body: dict[str, object] = {"messages": [{"role": "user", "content": prompt.text}]}
    made.choose(GROUP, body if limit is None else {**body, "max_tokens": limit}, [model], trace)
    decision = trace.decision
    if decision is None or decision.selected is None or decision.selected.prediction.cost_usd is None:
        raise RuntimeError("the strategy left a pick to LiteLLM, or predicted no cost")
    wanted, prompt_tokens = prompt.answers[model], max(1, len(prompt.text) // 4)
    tokens = wanted if limit is None else min(wanted, limit)
    made.sent(trace, model)
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens, "endTime": made._clock()}  # noqa: SLF001
    landing = made.finish(trace, "success")
    record = build_record({"status": "success", **usage}, trace, facts=facts)
    made.learn(trace, landing, record, is_whole=tokens == wanted)
    billed_usd = prompt_tokens * INPUT_USD + tokens * OUTPUT_USD
    alike_usd = prompt_tokens * INPUT_USD + (mean if limit is None else min(mean, limit)) * OUTPUT_USD
    low_usd, high_usd = decision.cost_interval_usd or (0.0, 0.0)
    predicted_usd = decision.selected.prediction.cost_usd
    return Bill(model, prompt.category, predicted_usd, billed_usd, alike_usd, low_usd <= billed_usd <= high_usd)


def off(part: Sequence[Bill]) -> float:
    """Predicted sum ÷ billed sum − 1."""
    return sum(one.predicted_usd for one in part) / sum(one.billed_usd for one in part) - 1


def blocks(repeats: Sequence[Sequence[Bill]]) -> Iterator[list[Bill]]:
    """Blocks of a hundred consecutive requests of a deployment and category."""
    for found in repeats:
        cells: defaultdict[tuple[str, str], list[Bill]] = defaultdict(list)
        for one in found:
            cells[one[:2]].append(one)
        for cell in cells.values():
            yield from (cell[at : at + BLOCK] for at in range(0, len(cell) - BLOCK + 1, BLOCK))


def rows(repeats: Sequence[Sequence[Bill]]) -> Iterator[Row]:
    """The figures of one fleet, by deployment."""
    for model in dict.fromkeys(one.model for found in repeats for one in found):
        own = [[one for one in found if one.model == model] for found in repeats]
        every = [one for found in own for one in found]
        yield Row(
            model,
            len(every),
            off(every),
            statistics.median(abs(off(block)) for block in blocks(own)),
            statistics.median(abs(one.predicted_usd / one.billed_usd - 1) for one in every),
            statistics.fmean(one.is_within for one in every),
            sum(one.alike_usd for one in every) / sum(one.billed_usd for one in every) - 1,
        )


def table_of(title: str, found: Sequence[Row]) -> Table:
    """The table of one fleet."""
    table = Table(title=title)
    for head in ("deployment", "requests", "bias", "100", "single", "in 90 %", "bias if all wrote alike"):
        table.add_column(head, justify="left" if head == "deployment" else "right")
    for one in found:
        shares = f"{one.bias:+.1%}", f"{one.hundred:.1%}", f"{one.single:.0%}", f"{one.within:.1%}", f"{one.alike:+.0%}"
        table.add_row(one.model, f"{one.requests:,}", *shares)
    return table


def aims_of(found: Sequence[Row]) -> Iterator[Aim]:
    """The aims, each for the deployment that is furthest from it."""
    yield Aim.at_most(
        100 * MOST_BIAS, "bias of a deployment's cost:", 100 * max(abs(one.bias) for one in found), 1, " %"
    )
    yield Aim.at_most(100 * MOST_ERROR, "a hundred requests off by:", 100 * max(one.hundred for one in found), 1, " %")
    least, most = (100 * pick(one.within for one in found) for pick in (min, max))
    low, high = (100 * share for share in COVERED)
    text = f"in the interval for nine in ten: {least:.1f} to {most:.1f} %, {low:g} to {high:g} %"
    yield Aim(text, low <= least and most <= high)


def percent(values: Iterable[float]) -> list[float]:
    """The lowest and the highest share, in percent."""
    found = [100 * value for value in values]
    return [min(found), max(found)]


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Orders of the prompts, and draws of models.")] = 3,
    prompts: Annotated[int, typer.Option(min=500, help="Of each fleet in a repeat.")] = 2_000,
    data: Annotated[Path, typer.Option(help="Where the tables are.")] = DATA,
    *,
    is_saved: Save = False,
) -> None:
    """Prints a table for each fleet."""
    console = Console(width=110)
    found: dict[str, list[list[Bill]]] = {}
    draws = [("emulated", seed) for seed in range(repeats)]
    draws += [(name, seed) for name in TABLES if (data / name).exists() for seed in range(repeats)]
    for name, seed in track(draws, "answering", console=console):
        rng = random.Random(f"{name}:models")  # the same models in each repeat
        chosen = emulated(prompts, random.Random(seed)) if name == "emulated" else recorded(data / name, prompts, rng)
        random.Random(seed).shuffle(chosen)
        found.setdefault(name, []).append(list(bills(chosen)))
    fleets = {name: list(rows(own)) for name, own in found.items()}
    for name, fleet in fleets.items():
        console.print(table_of(name, fleet))
    every = [one for fleet in fleets.values() for one in fleet]
    figures = {
        "deployments": len(every),
        "bias_percent": percent(one.bias for one in every),
        "hundred_percent": percent(one.hundred for one in every),
        "single_percent": percent(one.single for one in every),
        "within_percent": percent(one.within for one in every),
        "alike_percent": percent(one.alike for one in every),
        "fleets": fleets,
    }
    conclude(figures, aims_of(every), is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
