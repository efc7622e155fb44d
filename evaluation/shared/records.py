"""Records of a few hundred different requests to three deployments, each decided and recorded as the plugin does it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from evaluation.shared.proxy_config import deployment
from slo_router.contract.model import Facts, Features, Metrics, Slo
from slo_router.contract.prices import cost_usd
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.group import GroupSettings
from slo_router.decision.decide import Policy, decide
from slo_router.decision.foresight import Ask
from slo_router.decision.prediction import View
from slo_router.worker.attempt import Attempt
from slo_router.worker.records import build_record
from slo_router.worker.snapshot import make_snapshot
from slo_router.worker.trace import Trace

KINDS = 400
FACTS = [
    Facts("small", "openai/small", 32_768, None, 1e-7, 2e-7, quality={"default": 0.7}),
    Facts("medium", "openai/medium", 32_768, None, 3e-7, 6e-7, quality={"default": 0.8}),
    Facts("large", "openai/large", 128_000, None, 2.5e-6, 1e-5, quality={"default": 0.95}),
]
MODEL_LIST = [
    deployment(
        "smart",
        one.deployment_id,
        usd=(one.input_usd_per_token or 0.0, one.output_usd_per_token or 0.0),
        quality=one.quality["default"],
    )
    for one in FACTS
]


def kinds(now_s: float) -> Iterator[RequestRecord]:
    """One record of each request."""
    rng = random.Random(1)
    for number in range(KINDS):
        category = rng.choice(["ner", "code", "chat", "reasoning"])
        measured = {
            one.deployment_id: {
                category: Metrics(now_s - 60, rng.uniform(0.05, 0.4), tpot_s=rng.uniform(0.005, 0.03), error_rate=0.01)
            }
            for one in FACTS
        }
        view = View(make_snapshot(measured, now_s), now_s, rng)
        slo = Slo(ttft_s=0.3, min_quality=rng.choice([None, 0.75, 0.9]))
        features = Features(category, "rules", rng.randint(50, 5_000), rng.randint(20, 800), 800)
        decision = decide(Ask(features, slo), FACTS, view, Policy(GroupSettings(), "cafe0123"))
        attempts = [Attempt(decision.deployment_id, is_sent=True)]
        trace = Trace("acompletion", now_s, stream=True, slo=slo, decision=decision, attempts=attempts)
        chosen = next(one for one in FACTS if one.deployment_id == decision.deployment_id)
        prompt, completion = features.prompt_tokens, max(features.output_tokens + rng.randint(-15, 200), 1)
        payload: dict[str, object] = {
            "id": f"chatcmpl-{number}",
            "status": "success" if rng.random() > 0.01 else "failure",
            "model": chosen.model,
            "model_id": chosen.deployment_id,
            "model_group": "smart",
            "endTime": now_s + 20.0,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "response_cost": cost_usd(chosen, prompt, completion),
            "metadata": {"user_api_key_hash": f"{number % 50:064x}", "user_api_key_team_id": f"team-{number % 20}"},
        }
        trace.saw_token(now_s + rng.lognormvariate(-1.7, 0.5))
        yield build_record(payload, trace)
