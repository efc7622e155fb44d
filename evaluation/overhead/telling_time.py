"""How long it takes to tell the category of a prompt of 2,000 words: by the built-in rules, trained, and by clusters.

    python -m evaluation.overhead.telling_time [--save]

Prompts are consecutive words of MMLU-Pro, on which the classifiers are trained too. The study measures the CPU time of
the thread, with cutting the prompt into windows. Each prompt counts with the median of five runs, because other
processes take the caches. p99 is over the prompts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import typer

from evaluation.quality.router_value import TABLES
from evaluation.quality.task_value import CLUSTERED, CLUSTERS, RULES, SURE, TRAINED, World, named, world_of
from evaluation.shared.results import Aim, Save, conclude
from slo_router.operator.evaluating.table import Choice, read_table
from slo_router.operator.training.clusters import cluster
from slo_router.operator.training.fitting import fit
from slo_router.request.categories import Categorizer, instruction_windows, rules
from slo_router.request.trained import trained

TIMED, RUNS, WORDS, BUDGET_US = 2_000, 5, 2_000, 100.0


def timed(tell: Categorizer, texts: Sequence[str]) -> tuple[float, float]:
    """p50 and p99 over the texts, in microseconds."""
    taken = []
    for text in texts:
        runs = []
        for _ in range(RUNS):
            began = time.thread_time_ns()
            tell(instruction_windows(text))
            runs.append((time.thread_time_ns() - began) / 1_000)
        taken.append(statistics.median(runs))
    return statistics.median(taken), float(np.quantile(taken, 0.99))


def clustered(world: World, count: int) -> Categorizer:
    """A categorizer by `count` clusters."""
    return trained(cluster(world.prompts[:CLUSTERED], count, 0).classifier)


def speed(world: World) -> dict[str, tuple[float, float]]:
    """p50 and p99 in microseconds of each way to tell a category."""
    rng = np.random.default_rng(0)
    words = " ".join(world.table.prompts).split()
    starts = rng.integers(len(words) - WORDS, size=TIMED)
    texts = [" ".join(words[start : start + WORDS]) for start in starts]
    ways: dict[str, Callable[[], Categorizer]] = {
        RULES: rules,
        TRAINED: lambda: trained(fit(world.prompts, SURE, 0).classifier),
    }
    for count in CLUSTERS:
        ways[named(count)] = partial(clustered, world, count)
    return {name: timed(made(), texts) for name, made in ways.items()}


def main(*, is_saved: Save = False) -> None:
    """How long it takes to tell a category."""
    path, left_out = TABLES["MMLU-Pro"]
    taken = speed(world_of(read_table(path, Choice(leave_out=left_out))))
    for way, (p50, p99) in taken.items():
        print(f"{way}: p50 {p50:.0f} µs, p99 {p99:.0f} µs")
    aims = [Aim.at_most(BUDGET_US, f"{way}: p99", p99, 0, " µs") for way, (_, p99) in taken.items() if way != RULES]
    figures = {way: {"p50_us": p50, "p99_us": p99} for way, (p50, p99) in taken.items()}
    conclude({"words": WORDS, "prompts": TIMED, "ways": figures}, aims, is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
