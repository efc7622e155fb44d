"""Does the regression gate find a real degradation?

    python -m evaluation.gate.gate_real

The deployment `smollm2` keeps its name night by night: SmolLM2-135M in 8 bits, unchanged, in 5, 3 and 2 bits, and in 8
bits again, each on llama.cpp's own server. Each night `slo-bench quality` asks it the shipped suite and publishes to a
real Valkey. Three results are required. The unchanged night is good. With 2 bits the command exits with 3 and holds the
deployment. In the last night the deployment passes again, because bad nights never become the baseline. For 5 and 3
bits the result is open; the table shows their intervals.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import redis
import typer
import yaml
from rich.console import Console
from rich.table import Table

from evaluation.shared.proxy_config import deployment, document
from evaluation.shared.real_model import Quantization
from evaluation.shared.real_server import RealDeployment, running_servers
from evaluation.shared.results import Save, save
from evaluation.shared.valkey_server import ValkeyServer
from slo_bench.gate.paired import paired
from slo_router.contract.keys import metrics_key
from slo_router.contract.metrics_hash import QUALITY_HELD

NIGHTS: tuple[Quantization, ...] = ("Q8_0", "Q8_0", "Q4_1", "Q3", "Q2", "Q8_0")
MUST = {1: False, 4: True, 5: False}  # night → whether the command must exit with 3
REGRESSED = 3
BITS: Mapping[Quantization, int] = {"Q8_0": 8, "Q4_1": 5, "Q3": 3, "Q2": 2}  # per weight, scales included


class Result(msgspec.Struct):
    """One category in the tool's JSON."""

    category: str
    quality_score: float
    scores: dict[str, float]
    verdict: str


class Report(msgspec.Struct):
    """The parts of the tool's JSON that the study reads."""

    results: list[Result]
    requests_sent: int


class Night(NamedTuple):
    """The result of one night."""

    quantization: Quantization
    exit_code: int
    results: Sequence[Result]
    sent: int
    held: frozenset[str]  # categories


def main(items: int = 60, categories: str = "ner,summarization", *, is_saved: Save = False) -> None:
    """Runs all nights, prints what each came to; exit code 1 where it is not what it must be."""
    nights: list[Night] = []
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder) / "valkey") as valkey:
        for quantization in NIGHTS:
            options = ["--items", str(items), "--categories", categories]
            nights.append(run(quantization, valkey.url, Path(folder), options))
            Console(stderr=True).print(f"{quantization}: exit code {nights[-1].exit_code}")
    Console(width=140).print(show(nights))
    faults = [
        f"night {place + 1}, {NIGHTS[place]}: exit code {nights[place].exit_code}"
        for place, must in MUST.items()
        if (nights[place].exit_code == REGRESSED) is not must or bool(nights[place].held) is not must
    ]
    print("\n".join(faults) or "as expected: 2 bits are found and held, an unchanged deployment is not")
    if is_saved:
        save(figures(nights, items))
    sys.exit(1 if faults else 0)


def figures(nights: Sequence[Night], items: int) -> dict[str, object]:
    """For docs/evidence.md: how each night's scores changed against the first, for good and for found nights."""
    first = {result.category: result.scores for result in nights[0].results}
    changes = [
        [change.mean for result in night.results if (change := paired(first[result.category], result.scores))]
        for night in nights
    ]
    rows = list(zip(nights, changes, strict=True))[1:]
    good = [(night, change) for night, change in rows if night.exit_code != REGRESSED]
    means = [mean for _, change in good for mean in change]
    return {
        "items": items,
        "categories": list(first),
        "good": {
            "bits": list(dict.fromkeys(BITS[night.quantization] for night, _ in good)),
            "change": {"lowest": min(means), "highest": max(means)},
        },
        "found": [
            {"bits": BITS[night.quantization], "change": min(change)}
            for night, change in rows
            if night.exit_code == REGRESSED
        ],
        "exit_code": REGRESSED,
    }


def run(quantization: Quantization, redis_url: str, folder: Path, options: Sequence[str]) -> Night:
    """Runs one night."""
    server = RealDeployment(name="smollm2", quantization=quantization, slots=2)
    with running_servers([server]) as (one,):
        entry = deployment("smart", "smollm2", one.api_base)
        config = folder / "litellm_config.yaml"
        config.write_text(yaml.safe_dump(document([entry], {"smart": {}}, redis_url=redis_url)))
        tool = str(Path(sys.executable).with_name("slo-bench"))
        command = [tool, "quality", "--config", str(config), "--json", "--max-age-hours", "0", "--timeout-s", "600"]
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
        done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=False, env=environment)
    found = msgspec.json.decode(done.stdout, type=Report)
    with redis.Redis.from_url(redis_url) as link:
        names = (result.category for result in found.results)
        held = frozenset(name for name in names if link.hget(metrics_key("", "smollm2", name), QUALITY_HELD))
    return Night(quantization, done.returncode, found.results, found.requests_sent, held)


def show(nights: Sequence[Night]) -> Table:
    """One line per night and category."""
    table = Table("night", "quantization", "category", title="Night by night, against the first", title_justify="left")
    for name in ("items", "score", "change", "95 % interval", "answers"):
        table.add_column(name, justify="right")
    for name in ("verdict", "exit code"):
        table.add_column(name)
    first = {result.category: result.scores for result in nights[0].results}
    for number, night in enumerate(nights, start=1):
        for result in night.results:
            change = paired(first[result.category], result.scores)
            low, high = (0.0, 0.0) if change is None else change.interval()
            between = "" if change is None else f"{change.mean:+.3f}", f"{low:+.3f} to {high:+.3f}"
            score = str(len(result.scores)), f"{result.quality_score:.3f}", *between, str(night.sent)
            ended = result.verdict, str(night.exit_code)
            table.add_row(str(number), night.quantization, result.category, *score, *ended)
    return table


if __name__ == "__main__":
    typer.run(main)
