"""Whether the plan that `slo-bench run` prints is what the run then takes.

    python -m evaluation.agent.nightly_plan

Ten emulated endpoints differ in speed, length of answers and price; one of them is paid by the GPU hour. The agent
measures them in the three shipped categories with its defaults, 300 requests. Each repeat begins with an empty Redis.
Its first run knows nothing and sends a few requests before it prints a plan. Its second run plans from what the first
run measured. The planned and the spent figures come from the agent's own JSON. The endpoints count tokens themselves,
which checks the USD spent.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import redis
import typer
import yaml

from evaluation.emulator import EndpointSpec, Handle, running_endpoints
from evaluation.shared.proxy_config import deployment, document
from evaluation.shared.results import Aim, Save, conclude
from evaluation.shared.valkey_server import ValkeyServer
from slo_bench.commands.run import DEFAULT_BUDGET_USD

BAR_PERCENT = 15
DEPLOYMENTS, CATEGORIES = 10, 3
MAX_MINUTES = 30.0
GPU_USD_PER_HOUR = 1.01


class Run(NamedTuple):
    """One run: planned and spent."""

    kind: str
    exit_code: int
    planned_minutes: float
    spent_minutes: float
    planned_usd: float
    spent_usd: float
    counted_usd: float  # by the endpoints, without the one that is paid by the GPU hour

    @property
    def time_off(self) -> float:
        """Planned ÷ spent − 1, of the minutes."""
        return self.planned_minutes / self.spent_minutes - 1

    @property
    def usd_off(self) -> float:
        """Planned ÷ spent − 1, of the USD."""
        return self.planned_usd / self.spent_usd - 1


def specs() -> list[EndpointSpec]:
    """The endpoints, from a small, fast model to a large, slow one with long answers."""
    return [
        EndpointSpec(name=f"model-{i}", ttft_ms=30 + 12 * i, tpot_ms=2 + 0.7 * i, output_tokens=40 + 12 * i, slots=8)
        for i in range(DEPLOYMENTS)
    ]


def prices(number: int) -> tuple[float, float]:
    """USD per prompt and per completion token. The largest model costs thirty times as much as the smallest."""
    factor = 30 ** (number / (DEPLOYMENTS - 1))
    return 1e-7 * factor, 4e-7 * factor


def configure(handles: Sequence[Handle], redis_url: str, path: Path) -> None:
    """Writes a deployment for each endpoint. The first has a price per GPU hour too, which wins over token prices."""
    entries = [
        deployment(
            "smart",
            handle.name,
            handle.api_base,
            usd=prices(number),
            info={} if number else {"slo_router": {"gpu_usd_per_hour": GPU_USD_PER_HOUR}},
        )
        for number, handle in enumerate(handles)
    ]
    path.write_text(yaml.safe_dump(document(entries, {"smart": {}}, redis_url=redis_url)))


def measure(kind: str, config: Path, handles: Sequence[Handle]) -> Run:
    """One run of the agent in its own process, as a cron job starts it."""
    for handle in handles:
        handle.reset()
    command = [str(Path(sys.executable).with_name("slo-bench")), "run", "--config", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    document = json.loads(done.stdout)
    planned, spent = document["planned"], document["spent"]
    return Run(
        kind,
        done.returncode,
        planned["minutes"],
        spent["minutes"],
        planned["usd"],
        spent["usd"],
        sum(counted(number, handle) for number, handle in enumerate(handles)),
    )


def counted(number: int, handle: Handle) -> float:
    """USD for the tokens that an endpoint says it has read and written."""
    if number == 0:
        return 0.0
    input_usd, output_usd = prices(number)
    seen = handle.seen()
    return input_usd * sum(one.prompt_tokens or 0 for one in seen) + output_usd * sum(
        one.completion_tokens or 0 for one in seen
    )


def show(runs: Sequence[Run]) -> None:
    """Prints every run."""
    print("run      exit   minutes: planned  spent    off   USD: planned    spent     off   by the endpoints")
    for one in runs:
        print(
            f"{one.kind:8} {one.exit_code:4} {one.planned_minutes:17.2f} {one.spent_minutes:6.2f} {one.time_off:+6.1%}"
            f" {one.planned_usd:14.5f} {one.spent_usd:8.5f} {one.usd_off:+7.1%} {one.counted_usd:18.5f}"
        )


def main(
    repeats: Annotated[int, typer.Option(help="Of a first and a second run.", min=1)] = 3, *, is_saved: Save = False
) -> None:
    """Whether the plan that `slo-bench run` prints is what the run then takes; exit code 1 where an aim is missed."""
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as directory, running_endpoints(specs()) as handles:
        config = Path(directory) / "litellm_config.yaml"
        with ValkeyServer(Path(directory) / "valkey") as server:
            configure(handles, server.url, config)
            for _ in range(repeats):
                with redis.Redis.from_url(server.url) as link:
                    link.flushall()
                runs += [measure(kind, config, handles) for kind in ("first", "second")]
    show(runs)
    minutes, usd = (100 * max(map(abs, off)) for off in ([one.time_off for one in runs], [one.usd_off for one in runs]))
    aims = [
        Aim.at_most(BAR_PERCENT, "minutes off the plan by", minutes, 1, " %"),
        Aim.at_most(BAR_PERCENT, "USD off the plan by", usd, 1, " %"),
        Aim.at_most(MAX_MINUTES, "the longest run took", max(one.spent_minutes for one in runs), 1, " minutes"),
        Aim.at_most(DEFAULT_BUDGET_USD, "the dearest run took", max(one.spent_usd for one in runs), 2, " USD"),
    ]
    world = {"deployments": DEPLOYMENTS, "categories": CATEGORIES}
    found = {**world, "minutes_off_percent": minutes, "usd_off_percent": usd}
    raise typer.Exit(0 if conclude(found, aims, is_saved=is_saved) else 1)


if __name__ == "__main__":
    typer.run(main)
