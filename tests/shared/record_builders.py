"""Request records as the plugin writes them, decided by `routing.decide` and built by `build_record`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from slo_router.contract.model import NOTHING, Decision, Facts, Metrics, Slo
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.replay.recorded import Recorded, decode
from slo_router.worker.attempt import Attempt
from slo_router.worker.records import build_record
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, decided, measured

SMALL = Facts("small", "openai/small", 32_768, None, 1e-6, 2e-6, quality={"default": 0.7})
LARGE = Facts("large", "openai/large", 128_000, None, 10e-6, 20e-6, quality={"default": 0.9})
BOTH = measured(small=Metrics(NOW_S - 60, 0.1, tpot_s=0.01), large=Metrics(NOW_S - 60, 0.2, tpot_s=0.02))


def decide_between(*candidates: Facts, slo: Slo = Slo(), group: GroupSettings | None = None) -> Decision:  # noqa: B008
    """A decision among these candidates, by default SMALL (first token within 100 ms) and LARGE (within 200 ms)."""
    return decided(candidates or (SMALL, LARGE), slo=slo, snapshot=BOTH, group=group)


def record_of(decision: Decision | None = None, **changes: object) -> RequestRecord:
    """A stream of 300 prompt and 100 completion tokens, the first after 150 ms, the last after 2 s."""
    decision = decision or decide_between()
    attempts = [Attempt(decision.deployment_id, is_sent=True)]
    trace = Trace("acompletion", NOW_S, stream=True, slo=decision.slo, decision=decision, attempts=attempts)
    trace.saw_token(NOW_S + 0.15)
    payload: dict[str, object] = {
        "id": "chatcmpl-1",
        "status": "success",
        "model": "m",
        "model_id": decision.deployment_id,
        "model_group": "smart",
        "completionStartTime": NOW_S + 0.02,  # the chunk with the role
        "endTime": NOW_S + 2.0,
        "prompt_tokens": 300,
        "completion_tokens": 100,
        "response_cost": 0.0005,
        "metadata": {"user_api_key_hash": "h", "user_api_key_alias": "alias", "user_api_key_team_id": "blue"},
    }
    return build_record(payload, trace).model_copy(update=changes)


def line_of(decision: Decision | None = None, **changes: object) -> str:
    """The record of `record_of` as a line of the log."""
    return record_of(decision, **changes).model_dump_json()


def shadow_line_of(decision: Decision | None = None, **changes: object) -> str:
    """The log line of a request in shadow mode, whose deployment LiteLLM chose."""
    return line_of(decision, **changes).replace('"shadow":false', '"shadow":true')


def read_back(decision: Decision | None = None, **changes: object) -> Recorded:
    """The record of `record_of`, written and read again."""
    return decode(line_of(decision, **changes))


def write_config(
    path: Path, plugin: Mapping[str, object] | None = None, *facts: Facts, litellm: Mapping[str, object] = NOTHING
) -> Path:
    """Writes a proxy's YAML with these deployments, by default SMALL and LARGE, in the group `smart`. JSON is YAML."""
    entries = [
        {
            "model_name": "smart",
            "litellm_params": {
                "model": one.model,
                "input_cost_per_token": one.input_usd_per_token,
                "output_cost_per_token": one.output_usd_per_token,
            },
            "model_info": {
                "id": one.deployment_id,
                "max_input_tokens": one.context_tokens,
                "slo_router": {"quality": dict(one.quality), "gpu_usd_per_hour": one.gpu_usd_per_hour},
            },
        }
        for one in facts or (SMALL, LARGE)
    ]
    section = {"groups": {"smart": {}}, **(plugin or {})}
    loaded = {"callbacks": ["slo_router.proxy.callback"], **litellm}
    document = {"model_list": entries, "litellm_settings": loaded, "callback_settings": {"slo_router": section}}
    path.write_text(json.dumps(document))
    return path
