"""On a real model: `slo-bench run` marks a deployment that answers garbage, and it gets no request; a milder one does.

llama.cpp serves SmolLM2 four times: unchanged, in a milder quantization, in 2 bits, and with a chat template that lacks
the assistant's turn. The last two are broken. They are the cheapest, so that only the answer checks keep requests from
them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
import redis

pytest.importorskip("xllamacpp", reason="llama.cpp has no wheel for this platform", exc_type=ImportError)

from evaluation.quality.real_answers import TEMPLATES
from evaluation.shared.real_server import RealDeployment, RunningServer, running_servers
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.record import RequestRecord
from tests.e2e.conftest import refreshed

PREFIX = "answers:"
USD_PER_TOKEN = {"two-bits": 1e-7, "template": 2e-7, "milder": 4e-7, "original": 8e-7}
DEPLOYMENTS = (
    RealDeployment(name="two-bits", quantization="Q2", slots=4, context_tokens=512),
    RealDeployment(
        name="template", quantization="Q4_0", chat_template=TEMPLATES["unprompted"], slots=4, context_tokens=512
    ),
    RealDeployment(name="milder", quantization="Q4_0", slots=4, context_tokens=512),
    RealDeployment(name="original", quantization="Q4_1", slots=4, context_tokens=512),
)
PROMPTS = (
    "Tell me a joke about rain.",
    "What should I cook tonight?",
    "How do I keep basil alive in winter?",
    "Recommend a book about the sea.",
    "What is a good gift for a gardener?",
    "Why is the sky blue?",
    "How can I sleep better?",
    "Describe a walk in the forest.",
    "What makes a good friend?",
    "How do bees make honey?",
)


def document(servers: Sequence[RunningServer], redis_url: str) -> dict[str, object]:
    models = [
        {
            "model_name": "smart",
            "litellm_params": {
                "model": f"openai/{server.deployment.name}",
                "api_base": server.api_base,
                "api_key": "none",
                "input_cost_per_token": USD_PER_TOKEN[server.deployment.name],
                "output_cost_per_token": USD_PER_TOKEN[server.deployment.name],
            },
            "model_info": {"id": server.deployment.name, "max_input_tokens": server.deployment.context_tokens},
        }
        for server in servers
    ]
    plugin = {
        "redis_url": redis_url,
        "key_prefix": PREFIX,
        "refresh_interval_s": 0.2,
        "groups": {"smart": {"trial_share": 0}},
    }
    return {
        "model_list": models,
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {"slo_router": plugin},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


@pytest.fixture
def proxy(valkey: ValkeyServer, tmp_path: Path) -> Iterator[StockProxy]:
    with running_servers(DEPLOYMENTS) as servers, StockProxy(document(servers, valkey.url), tmp_path) as running:
        yield running


@pytest.mark.slow
def test_what_answers_garbage_is_marked_and_gets_no_request(
    proxy: StockProxy, valkey: ValkeyServer, tmp_path: Path
) -> None:
    entries = [
        {"category": "chat", "max_tokens": 56, "messages": [{"role": "user", "content": text}]} for text in PROMPTS
    ]
    workload = tmp_path / "workload.jsonl"
    workload.write_text("\n".join(map(json.dumps, entries)))
    tool = str(Path(sys.executable).with_name("slo-bench"))
    options = ["--config", str(proxy.config_path), "--workload", str(workload), "--concurrency", "4"]
    options += ["--requests", "20", "--timeout-s", "300", "--warmup", "0", "--json"]
    done = subprocess.run([tool, "run", *options], capture_output=True, text=True, timeout=1200, check=False)
    assert (done.returncode, done.stdout != "") == (1, True), done.stdout + done.stderr
    found = {row["deployment"]: row["answers"] for row in json.loads(done.stdout)["results"]}
    print(json.dumps(found, indent=1))
    assert {name: row["verdict"] for name, row in found.items()} == {
        "two-bits": "faulty",
        "template": "faulty",
        "milder": "sound",
        "original": "sound",
    }

    with redis.Redis.from_url(valkey.url, decode_responses=True) as link:
        refreshed(proxy, link, PREFIX)  # so that the proxy has read the marks
    body = {"model": "smart", "max_tokens": 12, "messages": [{"role": "user", "content": PROMPTS[0]}]}
    headers = {**proxy.auth, "x-slo-category": "chat"}
    answer = httpx.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert answer.headers["x-slo-selected-model"] == "milder"
    assert rejections(valkey.url, answer.json()["id"]) == {("two-bits", "answers"), ("template", "answers")}


def rejections(url: str, request_id: str, within_s: float = 60.0) -> set[tuple[str, str]]:
    """The deployments that were ruled out, each with its filter, by the record of a request."""
    deadline_s = time.monotonic() + within_s
    with redis.Redis.from_url(url, decode_responses=True) as link:
        while time.monotonic() < deadline_s:
            for _, fields in link.xrange(f"{PREFIX}slo_router:requests"):
                record = RequestRecord.model_validate_json(fields["record"])
                if record.request_id == request_id and record.decision is not None:
                    ruled_out: list[dict[str, str]] = record.decision["rejections"]  # type: ignore[assignment]
                    return {(one["deployment"], one["filter"]) for one in ruled_out}
            time.sleep(0.05)
    raise AssertionError(f"no record of {request_id} within {within_s:g} s")
