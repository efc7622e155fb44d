"""Replays recorded traffic under other policies and holds what that says against live runs under them.

A real proxy routes the same arrivals in every arm, each arm under its policy. `slo-router replay` replays the records
of the arm `recorded` under each other policy. Differences are replay − live: over the requests of all repeats together,
with the lowest and the highest of single repeats. The control is an arm under the recorded policy itself. There is no
bar for the policy with a limit on the edge: the replay itself should say that its picks may differ.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import redis
import typer

from evaluation.emulator import running_endpoints
from evaluation.routing.replay_ab.live import run
from evaluation.routing.replay_ab.world import (
    BEFORE,
    DEPLOYMENTS,
    EDGE,
    KINDS,
    POLICIES,
    RECORDED,
    arrivals,
    deployment_id,
    document,
)
from evaluation.shared.results import Aim, Save, Spread, conclude
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import metrics_key
from slo_router.contract.metrics_hash import write_metrics
from slo_router.operator.replay.recorded import Recorded, decode

ARMS: Mapping[str, dict[str, object]] = {RECORDED: BEFORE, **POLICIES}
WARM_UP_S = 60.0
BARS = {"share_points": 2, "cost_percent": 3, "kept_points": 3}
WORDS = {"share_points": ("share", " points"), "cost_percent": ("cost", " %"), "kept_points": ("SLO kept", " points")}


@dataclass(frozen=True, slots=True)
class Compared:
    """One policy: replay − live, by the names of `BARS`, and the share of picks that may differ live."""

    policy: str
    off: dict[str, Spread]
    close_percent: float


class Figures(NamedTuple):
    """The figures of a live run or a replay: shares by deployment, USD, and SLO attainment.

    `close` is the share of picks that, by the replay, may differ live.
    """

    shares: dict[str, float]
    usd: float
    kept: float
    close: float = 0.0


def measured(lines: Sequence[str], arm: str) -> Figures:
    """The figures of an arm's live records."""
    records: list[Recorded] = [decode(line) for line in lines]
    served = Counter((record.deployment or "").removeprefix(f"{arm}: ") for record in records)
    judged = [record.slo_met for record in records if record.slo_met is not None]
    shares = {name: count / len(records) for name, count in served.items()}
    return Figures(shares, sum(record.cost_usd or 0.0 for record in records), sum(judged) / len(judged))


def replayed(lines: Sequence[str], policy: str, folder: Path) -> Figures:
    """What `slo-router replay` predicts from the recorded arm's records."""
    log = folder / "replayed.jsonl"
    log.write_text("\n".join(lines), encoding="utf-8")
    files = ["--log", str(log), "--config", str(yaml_of(folder, RECORDED)), "--policy", str(yaml_of(folder, policy))]
    program = [sys.executable, "-c", "from slo_router.operator.cli import app; app()"]
    command = [*program, "replay", "--json", "--since", "1d", *files]
    said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    shares = {name.removeprefix(f"{RECORDED}: "): new for name, (_, new) in said["shares"].items()}
    close = said["counts"]["close"] / said["counts"]["replayed"]
    return Figures(shares, said["cost"]["new_usd"], said["attainment"]["share"], close)


def differences(foretold: Figures, live: Figures) -> dict[str, float]:
    """Replay − live, in the units of `BARS`. For shares it is that of the deployment furthest off."""
    names = foretold.shares.keys() | live.shares.keys()
    off = [100 * (foretold.shares.get(name, 0.0) - live.shares.get(name, 0.0)) for name in names]
    cost, kept = 100 * (foretold.usd / live.usd - 1), 100 * (foretold.kept - live.kept)
    return {"share_points": max(off, key=abs), "cost_percent": cost, "kept_points": kept}


def yaml_of(folder: Path, policy: str) -> Path:
    """The path of the recorded arm's YAML under a policy. It contains JSON, which is YAML."""
    return folder / f"{policy}.yaml"


@contextmanager
def started(folder: Path) -> Iterator[tuple[StockProxy, redis.Redis]]:
    """Runs the endpoints, Valkey and a warm proxy."""
    specs = [one.spec(arm) for arm in ARMS for one in DEPLOYMENTS]
    with running_endpoints(specs) as handles, ValkeyServer(folder / "valkey") as valkey:
        client = redis.Redis.from_url(valkey.url, decode_responses=True)
        for arm in ARMS:
            for one in DEPLOYMENTS:
                fields = write_metrics(one.metrics(time.time()))
                for category in KINDS:
                    client.hset(metrics_key("", deployment_id(one, arm), category), mapping=fields)  # type: ignore[arg-type]
        api_bases = {handle.name: handle.api_base for handle in handles}
        for name, policy in ARMS.items():
            text = json.dumps(document(valkey.url, api_bases, {RECORDED: policy}))
            yaml_of(folder, name).write_text(text, encoding="utf-8")
        (folder / "proxy").mkdir()
        with StockProxy(document(valkey.url, api_bases, ARMS), folder / "proxy") as proxy:
            run(proxy, client, list(ARMS), list(arrivals(1.0, WARM_UP_S, 0)))
            yield proxy, client


def main(
    rate: Annotated[float, typer.Option(help="Requests per second in each arm.")] = 1.0,
    seconds: Annotated[float, typer.Option(help="Of each repeat; 300 tell more.")] = 180.0,
    repeats: Annotated[int, typer.Option(help="4 take half an hour.")] = 2,
    folder: Annotated[Path | None, typer.Option(help="An empty folder, to keep YAMLs and records in.")] = None,
    *,
    is_saved: Save = False,
) -> None:
    """Replays recorded traffic under other policies and holds what that says against live runs under them."""
    runs: list[Mapping[str, list[str]]] = []
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with started(place) as (proxy, client):
            for number in range(1, repeats + 1):
                runs.append(run(proxy, client, list(ARMS), list(arrivals(rate, seconds, number))))
                (place / f"run-{number}.json").write_text(json.dumps(runs[-1]), encoding="utf-8")
                print(f"{number} of {repeats}: {len(runs[-1][RECORDED])} requests in each arm", file=sys.stderr)
        off = [compared(runs, policy, place) for policy in POLICIES]
    for one in off:
        figures = ", ".join(f"{name} {spread.text(1)}" for name, spread in one.off.items())
        print(f"{one.policy}: {figures}; {one.close_percent:.0f} % of the picks may differ live, says the replay")
    judged = [one for one in off if one.policy != EDGE]
    aims = [
        Aim.at_most(most, f"{one.policy}: {WORDS[name][0]} off by", abs(one.off[name].value), 1, WORDS[name][1])
        for one in judged
        for name, most in BARS.items()
    ]
    counts = [len(one[RECORDED]) for one in runs]
    conclude({"repeats": counts, "policies": off, "aims": BARS}, aims, is_saved=is_saved)


def compared(runs: Sequence[Mapping[str, list[str]]], policy: str, folder: Path) -> Compared:
    """One policy over all repeats together, with the lowest and the highest single repeat."""

    def off(chosen: Sequence[Mapping[str, list[str]]]) -> tuple[dict[str, float], float]:
        recorded, live = ([line for one in chosen for line in one[arm]] for arm in (RECORDED, policy))
        foretold = replayed(recorded, policy, folder)
        return differences(foretold, measured(live, policy)), 100 * foretold.close

    whole, close_percent = off(runs)
    single = [off([one])[0] for one in runs]
    ends = {name: [one[name] for one in single] for name in BARS}
    spreads = {name: Spread(whole[name], min(values), max(values)) for name, values in ends.items()}
    return Compared(policy, spreads, close_percent)


if __name__ == "__main__":
    typer.run(main)
