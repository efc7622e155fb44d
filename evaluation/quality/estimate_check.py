"""Does the interval of `slo-router estimate` hold what routing then really saves?

    python -m evaluation.quality.estimate_check

The stock proxy with a real Postgres sends every prompt to the largest of four emulated endpoints. `slo-router estimate`
reads its spend logs, like a user who has not installed the plugin. The YAML names the candidates, their prices, stated
qualities and floors, but not how long their answers are. The same prompts also go to a group that the plugin routes.
The real saving is the difference of both groups' spend in LiteLLM's own logs. The endpoints write 0.9 to 1.6 times as
many tokens; each repeat has other prompts.

In the second kind, `mixed`, the group already sends one prompt in five to the small endpoint. So the estimate can learn
the length of its answers.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import psycopg
import typer

from evaluation.emulator import EndpointSpec, Handle, running_endpoints
from evaluation.quality.litellm_database import litellm_database
from evaluation.shared.proxy_config import Json, deployment, document
from evaluation.shared.results import Aim, Save, conclude
from evaluation.shared.stock_proxy import StockProxy

PROMPTS = Path(__file__).parents[1] / "data" / "prompts.jsonl"
PROGRAM = (sys.executable, "-c", "from slo_router.operator.cli import app; app()", "estimate")
FLOORS = {"default": 0.7, "ner": 0.5, "chat": 0.5, "reasoning": 0.9}
BEFORE, MIXED, ROUTED = "before", "mixed", "routed"
ANSWER_TOKENS = 60  # in the mean, of the model of verbosity 1
AT_ONCE = 8
WRITTEN_WITHIN_S = 120.0
SHARE_TO_SMALL = 0.2  # share of the mixed group's requests


class Model(NamedTuple):
    """An endpoint: USD per prompt token (an output token costs twice as much), quality, and verbosity."""

    name: str
    usd: float
    quality: float
    verbosity: float


MODELS = (
    Model("small", 2e-7, 0.60, 1.6),
    Model("medium", 8e-7, 0.80, 1.0),
    Model("hosted", 1.6e-6, 0.80, 1.2),
    Model("large", 8e-6, 0.95, 0.9),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One repeat, in shares of the spend. `interval` covers the traffic alone, `whole` also what is assumed."""

    kind: str
    repeat: int
    estimate: float
    interval: tuple[float, float]
    whole: tuple[float, float]
    shown: float
    most: float
    real: float

    @property
    def is_held(self) -> bool:
        """Whether the real saving lies within `whole`."""
        return self.whole[0] <= self.real <= self.whole[1]

    def __str__(self) -> str:
        whole, alone = (f"{100 * low:.1f} to {100 * high:.1f}" for low, high in (self.whole, self.interval))
        said = f"estimated {100 * self.estimate:.1f} % ({whole}; of the traffic alone {alone})"
        return f"{self.kind:<7} {self.repeat}: {said}, really {100 * self.real:.1f} %"


def entries(group: str, handles: Mapping[str, Handle], names: Sequence[str]) -> list[Json]:
    """The deployments of a group. The mixed group sends SHARE_TO_SMALL of its requests to the small endpoint."""
    return [
        deployment(
            group,
            f"{group}-{one.name}",
            handles[one.name].api_base,
            model=one.name,
            usd=(one.usd, 2 * one.usd),
            params={"weight": SHARE_TO_SMALL if one.name == "small" else 1 - SHARE_TO_SMALL} if group == MIXED else {},
            quality=one.quality,
        )
        for one in MODELS
        if one.name in names
    ]


def planned(group: str, handles: Mapping[str, Handle]) -> Json:
    """The YAML that a team would write: the candidates of one group, their qualities and floors."""
    return document(entries(group, handles, [one.name for one in MODELS]), {group: {"min_quality": FLOORS}})


def running(handles: Mapping[str, Handle]) -> Json:
    """The proxy's YAML: two groups that LiteLLM routes, and one that the plugin routes."""
    of_its_own = [
        *entries(BEFORE, handles, ["large"]),
        *entries(MIXED, handles, ["large", "small"]),
    ]
    routed = entries(ROUTED, handles, [one.name for one in MODELS])
    made = document([*of_its_own, *routed], {ROUTED: {"min_quality": FLOORS, "trial_share": 0}})
    general = {"master_key": "os.environ/LITELLM_MASTER_KEY", "store_prompts_in_spend_logs": True}
    return {**made, "general_settings": general}


def prompts(count: int, seed: int) -> list[Json]:
    """Messages of the recorded prompts. A random number in each gives each answer its own length."""
    rng = random.Random(seed)
    recorded = [json.loads(line)["messages"] for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    chosen = (rng.choice(recorded) for _ in range(count))
    return [
        {"messages": [*before, {**last, "content": f"{last['content']}\n\n({rng.randrange(10**9)})"}]}
        for *before, last in chosen
    ]


def ask(proxy: StockProxy, group: str, asked: Sequence[Json]) -> float:
    """Sends the prompts to a group. Returns when it began, in Unix seconds."""
    began_s = time.time()
    with (
        httpx.Client(base_url=proxy.url, headers=proxy.auth, timeout=120) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):

        def send(body: Json) -> None:
            client.post("/v1/chat/completions", json={"model": group, **body}).raise_for_status()

        list(pool.map(send, asked))
    return began_s


def spent_usd(url: str, group: str, since_s: float, count: int) -> float:
    """The USD that LiteLLM booked, once all `count` requests are in its log."""
    deadline_s = time.monotonic() + WRITTEN_WITHIN_S
    query = (
        'select count(*), sum(spend) from "LiteLLM_SpendLogs" '
        "where model_group = %s and \"startTime\" >= to_timestamp(%s) at time zone 'utc'"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            rows, usd = connection.execute(query, (group, since_s)).fetchone() or (0, 0.0)
            if rows >= count:
                return float(usd)
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{rows} of {count} spend logs of {group} within {WRITTEN_WITHIN_S:g} s")
            time.sleep(0.5)


def estimated(url: str, group: str, since_s: float, plan: Path) -> dict[str, Any]:
    """The command's JSON."""
    since = datetime.fromtimestamp(since_s, UTC).isoformat()
    words = [url, "--group", group, "--config", str(plan), "--since", since, "--categorize", "--json"]
    made: dict[str, Any] = json.loads(subprocess.run([*PROGRAM, *words], check=True, capture_output=True).stdout)
    return made


def checks(proxy: StockProxy, url: str, plans: Mapping[str, Path], count: int, repeats: int) -> Iterator[Check]:
    """The checks of both kinds. Each repeat has its own prompts."""
    for repeat in range(1, repeats + 1):
        asked = prompts(count, repeat)
        routed_usd = spent_usd(url, ROUTED, ask(proxy, ROUTED, asked), count)
        for group, plan in plans.items():
            since_s = ask(proxy, group, asked)
            real = 1 - routed_usd / spent_usd(url, group, since_s, count)
            shown, stated, most = estimated(url, group, since_s, plan)["savings"]
            made = Check(
                *(group, repeat, stated["saved_share"], stated["interval"], stated["whole"]),
                *(shown["saved_share"], most["saved_share"], real),
            )
            print(made, flush=True)
            yield made


def main(
    count: Annotated[int, typer.Option("--requests", help="Of each group and repeat.")] = 300,
    repeats: Annotated[int, typer.Option(help="Each with other prompts.")] = 3,
    *,
    is_saved: Save = False,
) -> None:
    """Holds what `slo-router estimate` says against what routing then really saves."""
    specs = [
        EndpointSpec(
            name=one.name,
            ttft_ms=1,
            prefill_us_per_token=0,
            tpot_ms=0,
            slots=64,
            output_tokens=round(ANSWER_TOKENS * one.verbosity),
        )
        for one in MODELS
    ]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        handles = {handle.name: handle for handle in stack.enter_context(running_endpoints(specs))}
        database = stack.enter_context(litellm_database())
        environment = {**database, "PROXY_BATCH_WRITE_AT": "1"}
        plans = {group: folder / f"{group}.yaml" for group in (BEFORE, MIXED)}
        for group, path in plans.items():
            path.write_text(json.dumps(planned(group, handles)), encoding="utf-8")  # JSON is YAML
        proxy = stack.enter_context(StockProxy(running(handles), folder, environment=environment))
        found = list(checks(proxy, database["DATABASE_URL"], plans, count, repeats))
    held = sum(one.is_held for one in found)
    aims = [Aim(f"the interval holds the real saving in {held} of {len(found)}, all of them", held == len(found))]
    conclude({"requests": count, "checks": found}, aims, is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
