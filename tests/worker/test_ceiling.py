"""A key's cost ceiling holds whatever a request says: 10,000 random requests, with retries and relaxations."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Mapping

from slo_router.contract.model import Facts, Metrics, Tier
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.config import LogSettings, PluginSettings
from slo_router.contract.settings.deployments import ManagedDeployment
from slo_router.contract.settings.group import GroupSettings
from slo_router.live.state import Ending
from slo_router.request.slo import SloInputs
from slo_router.worker.records import build_record
from slo_router.worker.snapshot import MetricsStore, make_snapshot
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace
from tests.shared.request_bodies import random_body

REQUESTS = 10_000
A_WORLD = 50  # requests that one worker sees before a new one starts
ALL = frozenset({"tools", "vision", "pdf", "audio", "json_schema"})


def facts(name: str, usd: float | None, output_usd: float | None = None, **more: object) -> Facts:
    output_usd = usd if output_usd is None else output_usd
    return Facts(name, f"m/{name}", input_usd_per_token=usd, output_usd_per_token=output_usd, **more)  # type: ignore[arg-type]


DEPLOYMENTS = (
    facts("tiny", 1e-7, context_tokens=4_000, max_output_tokens=1_000, unsupported=ALL, quality={"default": 0.3}),
    facts("cheap", 5e-7, context_tokens=32_000, unsupported=frozenset({"audio"}), quality={"default": 0.5}),
    facts("lopsided", 2e-7, 8e-6, quality={"default": 0.6}),
    facts("tiered", 1e-6, tiers=(Tier(2_000, 5e-6, 5e-6),), quality={"default": 0.7}),
    facts("by request", 1e-7, usd_per_request=0.01, quality={"default": 0.7}),
    facts("dear", 5e-5, quality={"default": 0.95}),
    facts("dearest", 1e-3, quality={"default": 0.99}),
    facts("unpriced", None, quality={"default": 0.9}),
    Facts("half", "m/half", 64_000, input_usd_per_token=1e-7, quality={"default": 0.9}),
    facts("by second", None, usd_per_second=0.01),
    facts("own", None, gpu_usd_per_hour=2.0),
)
INABILITY = frozenset(
    {"context_window", "capability", "answer_limit", "answers", "quota", "account", "already_tried", "circuit"}
)


def bounds_per_1k(one: Facts) -> tuple[float, float]:
    """The least and the most that 1,000 tokens can cost, whatever part of them is the prompt's."""
    if one.input_usd_per_token is None or one.output_usd_per_token is None:
        return math.inf, math.inf
    prices = [one.input_usd_per_token, one.output_usd_per_token]
    prices += [price for tier in one.tiers for price in (tier.input_usd, tier.output_usd)]
    return 1_000 * min(prices), math.inf if one.usd_per_request else 1_000 * max(prices)


def worker(rng: random.Random) -> Strategy:
    group = GroupSettings(
        objective=rng.choice(("cheapest", "weighted")),
        trial_share=rng.choice((0.0, 0.02, 1.0)),
        tie_band=rng.choice((0.0, 0.05, 1.0)),
        stickiness=rng.random() < 0.3,
        min_quality={"default": rng.choice((0.0, 0.5, 0.9, 1.0))},
        slo={"ttft_ms": rng.choice((1, 100, 10_000))},
    )
    made = Strategy(PluginSettings(groups={"smart": group}, log=LogSettings()), MetricsStore(""))
    some = rng.sample(DEPLOYMENTS, rng.randint(2, len(DEPLOYMENTS)))
    made.know([ManagedDeployment("smart", one) for one in some])
    now_s = time.time()
    rows = {
        one.deployment_id: {"ner": _row(rng, now_s), "chat": _row(rng, now_s)} for one in some if rng.random() < 0.7
    }
    made.store.snapshot = make_snapshot(rows, now_s)
    made.absorb(())
    return made


def _row(rng: random.Random, now_s: float) -> Metrics:
    return Metrics(
        now_s - rng.choice((0, 3_600, 10**7)),
        ttft_s=rng.choice((None, 0.05, 2.0)),
        tpot_s=rng.choice((None, 0.01)),
        cost_per_1k_usd=rng.choice((None, 0.0, 1e-4, 1.0)),
        error_rate=rng.choice((None, 0.0, 1.0)),
        answer_fault=rng.choice((None, None, "looping 9/10")),
    )


def inputs(rng: random.Random, ceiling: float) -> SloInputs:
    """Random inputs. The ceiling is the key's or the team's; the request's own values are random."""
    limits = {"slo_limits": {"cost_per_1k": {"max": ceiling}}}
    looser = {"slo_limits": {"cost_per_1k": {"max": 1_000.0}}}
    key, team = rng.choice(((limits, None), (limits, looser), (looser, limits), (None, limits)))
    wishes: Mapping[str, object] = rng.choice(
        ({}, {}, {"x-slo-cost-per-1k": "900"}, {"x-slo-min-quality": "0.97"}, {"x-slo-ttft-ms": "1"})
    )
    user = rng.choice((None, None, {"maxCostPer1k": 800}))
    return SloInputs(headers=wishes, user_slo=user, key_metadata=key, team_metadata=team)


def told(rng: random.Random) -> RequestRecord:
    """Usage as servers report it, nonsense included: what a worker learns from it must lift no ceiling."""
    usage = {
        "prompt_tokens": rng.choice((1, 30, 5_000, 10**9)),
        "completion_tokens": rng.choice((0, 1, 30, 4_096, 10**9)),
    }
    return build_record({"status": "success", **usage}, Trace("acompletion", time.time()))


def check(trace: Trace, ceiling: float, seen: Counter[str]) -> None:
    decision = trace.decision
    assert decision is not None
    known = {one.deployment_id: one for one in DEPLOYMENTS}
    unable = {one.deployment_id for one in decision.rejections if one.filter in INABILITY}
    costs = {one.deployment_id: one.prediction.cost_per_1k_usd for one in decision.assessments}
    able = [name for name in costs if name not in unable]
    chosen, usd = decision.deployment_id, costs[decision.deployment_id]
    within = [name for name in able if bounds_per_1k(known[name])[1] <= ceiling]
    predicted = [name for name in able if (cost := costs[name]) is not None and cost <= ceiling]
    is_above = ceiling < bounds_per_1k(known[chosen])[0] < math.inf  # else its cost was measured
    if usd is None or usd > ceiling or is_above:
        seen["above"] += 1
        assert not within, (chosen, within, ceiling, costs)
        assert not predicted, (chosen, predicted, ceiling, costs)
        priced = {name: cost for name in able if (cost := costs[name]) is not None}
        if priced:  # all are above the ceiling: the cheapest is the nearest
            assert usd == min(priced.values()), (chosen, priced)
    else:
        seen["within"] += 1
    seen[chosen] += 1


def requests_of(seed: int, count: int) -> Counter[str]:
    """Sends `count` random requests of keys with a ceiling, each tried up to three times."""
    rng, seen = random.Random(seed), Counter[str]()
    made = worker(rng)
    endings: tuple[Ending, ...] = ("success", "success", "success", "error", "refused", "denied", "released")
    for number in range(count):
        if number % A_WORLD == 0:
            made = worker(rng)
        pool = rng.sample(sorted(made.facts), rng.randint(1, len(made.facts)))
        ceiling = 10 ** rng.uniform(-5, 1)
        trace = Trace("acompletion", time.time())
        made.read_request("smart", trace, inputs(rng, ceiling))
        body, full = random_body(rng), set[str]()
        for _ in range(3):
            chosen = made.choose("smart", body, pool, trace, full=full, holder=rng.choice((None, None, pool[0])))
            assert chosen is not None
            check(trace, ceiling, seen)
            if rng.random() < 0.1:
                full.add(chosen)
                continue
            made.sent(trace, chosen)
            ending = rng.choice(endings)
            landing = made.finish(trace, ending)
            if ending == "success":
                made.learn(trace, landing, told(rng))
                break
    return seen


def test_no_request_of_a_key_with_a_ceiling_is_answered_above_it_while_a_cheaper_deployment_could() -> None:
    seen = requests_of(seed=12, count=REQUESTS)
    assert seen["within"] > REQUESTS / 4
    assert seen["above"] > REQUESTS / 20
    assert len(seen) > len(DEPLOYMENTS), seen  # every deployment was chosen
