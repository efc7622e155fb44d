"""`slo-router train`: makes a classifier of a team's own tasks, and says what it is worth."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from slo_router.errors import SettingsError
from slo_router.operator.commands.terminal import AsJson, console, print_json, problems, remarks

if TYPE_CHECKING:
    from slo_router.operator.training.fitting import Fitted
    from slo_router.operator.training.reading import Prompt
    from slo_router.operator.training.worth import Worth

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="JSONL, CSV or Parquet with category and prompt, text or messages; request records; or the proxy's YAML, "
        "whose categories have examples.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The artefact, for `categorizer: {trained: PATH}`.")]
Clusters = Annotated[
    int | None, typer.Option("--clusters", min=2, max=100, help="Without labels: so many clusters of alike prompts.")
]
Prefix = Annotated[str, typer.Option("--prefix", help="Of the clusters' names; another for each new training.")]
Sure = Annotated[
    float,
    typer.Option("--sure", min=0.0, max=0.99, help="A category that is right with less probability is left unsure."),
]
Outcomes = Annotated[
    Path | None,
    typer.Option("--outcomes", help="A table as `slo-router evaluate` reads it: what the categories are worth in USD."),
]


def train(
    file: File,
    *,
    output: Output = Path("tasks.json"),
    group: Annotated[str | None, typer.Option("--group", help="Only this group's examples or records.")] = None,
    clusters: Clusters = None,
    prefix: Prefix = "cluster",
    sure: Sure = 0.7,
    outcomes: Outcomes = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, max=100, help="Splits of the table of outcomes.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the fit and of what is held out.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Learns a team's own tasks from prompts with their category, and writes a classifier that the proxy can use.

    It shows on prompts held out of the fit what is taken for what, and how much stays unsure. With --outcomes it says
    what the categories are worth at equal quality, beside the built-in rules and one model for everything, or that they
    are worth nothing.

    Without labels, --clusters makes categories of prompts that share words: cluster-01 is the largest.

    The artefact has words of the prompts in it: whoever may read it may read those. Nothing is sent.

    Example: slo-router train labelled.jsonl --outcomes outcomes.csv --output tasks.json
    """
    with problems():
        try:
            from slo_router.operator.training.reading import read_prompts  # noqa: PLC0415

            prompts = read_prompts(file, group)
            fitted = _fitted(prompts, clusters, prefix, sure, seed)
            found = [] if outcomes is None else _worth(outcomes, prompts, fitted, seeds)
        except ModuleNotFoundError as error:
            raise SettingsError(f"{error.name} is not installed, expected litellm-slo-router[train]") from error
        try:
            output.write_bytes(msgspec.json.encode(fitted.classifier) + b"\n")
        except OSError as error:
            raise SettingsError(f"{output}: {error.strerror}, expected a path to write to") from error
    if as_json:
        print_json(_document(prompts, fitted, found))
    else:
        _show(prompts, fitted, found)
    size = f"{len(fitted.classifier.words):,} words, {output.stat().st_size:,} bytes"
    remarks.print(f"written: {output} ({size}); it has words of the prompts in it", highlight=False, soft_wrap=True)


def _fitted(prompts: list[Prompt], clusters: int | None, prefix: str, sure: float, seed: int) -> Fitted:
    from slo_router.operator.training.clusters import cluster  # noqa: PLC0415
    from slo_router.operator.training.fitting import fit  # noqa: PLC0415

    if clusters is not None:
        return cluster(prompts, clusters, seed, prefix)
    labelled = [one for one in prompts if one.category]
    if not labelled:
        raise SettingsError(f"none of {len(prompts):,} prompts has a category, expected some, or --clusters 20")
    prompts[:] = labelled
    return fit(labelled, sure, seed)


def _worth(outcomes: Path, prompts: list[Prompt], fitted: Fitted, seeds: int) -> list[Worth]:
    from slo_router.operator.evaluating.table import read_table  # noqa: PLC0415
    from slo_router.operator.training.worth import TARGETS, worth  # noqa: PLC0415

    seen = {one.windows: told for one, told in zip(prompts, fitted.told, strict=True)}
    return worth(read_table(outcomes), fitted, seen, TARGETS, seeds)


def _document(prompts: list[Prompt], fitted: Fitted, found: list[Worth]) -> dict[str, object]:
    from slo_router.operator.training.worth import verdict  # noqa: PLC0415

    counts = Counter(zip((one.category for one in prompts), fitted.told, strict=True))
    return {
        "prompts": len(prompts),
        "categories": fitted.classifier.categories,
        "held_out": fitted.classifier.held_out,
        "told": [{"category": said or None, "told": told, "prompts": n} for (said, told), n in sorted(counts.items())],
        "worth": [
            {
                "target": one.target,
                "usd_per_1k_prompts": {router: figure.mean for router, figure in one.usd.items()},
                "quality": {router: figure.mean for router, figure in one.quality.items()},
                "usd_less_peers": {peer: figure._asdict() for peer, figure in one.over.items()},
            }
            for one in found
        ],
        "verdict": verdict(found),
    }


def _show(prompts: list[Prompt], fitted: Fitted, found: list[Worth]) -> None:
    from slo_router.operator.training import show  # noqa: PLC0415

    for table in show.tables(prompts, fitted, found):
        console.print(table)
    for line in show.lines(fitted, found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
