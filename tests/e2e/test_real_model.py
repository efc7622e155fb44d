"""On a real model: `slo-bench` measures llama.cpp's own server, and the stock proxy routes to it.

Emulated endpoints do what their formulas say. Here only the sign of each comparison is known beforehand. `coarse`
(Q4_0) is cheap and fast, and takes 512 tokens. `fine` (Q4_1) costs twice as much, is slower, and takes 2,048 tokens.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx
import pytest
import redis

pytest.importorskip("xllamacpp", reason="llama.cpp has no wheel for this platform", exc_type=ImportError)

from evaluation.shared.real_server import RealDeployment, RunningServer, running_servers
from evaluation.shared.stock_proxy import LOCAL, StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.record import RequestRecord
from tests.e2e.conftest import refreshed

PREFIX = "real:"  # in the Valkey that the end-to-end tests share
USD_PER_TOKEN = {"coarse": 1e-7, "fine": 2e-7}
QUALITY = {"coarse": 0.4, "fine": 0.5}
DEPLOYMENTS = (
    RealDeployment(name="coarse", quantization="Q4_0", context_tokens=512),
    RealDeployment(name="fine", quantization="Q4_1", context_tokens=2_048),
)
PROMPTS = {
    "ner": ["List all names: Ada met Bo in Rome.", "List all places: the train left Graz for Wien."],
    "chat": ["Tell me a joke about rain.", "What should I cook tonight?"],
}
ASK = "List all names: Cleo wrote to Dan about Eva."


@dataclass(frozen=True, slots=True)
class Routed:
    """The proxy on both deployments after a benchmark."""

    proxy: StockProxy
    redis: redis.Redis

    def benchmark(self, directory: Path) -> None:
        """Measures both deployments, and waits until the proxy has read the measurements."""
        benchmark(self.proxy.config_path, directory)
        for category in PROMPTS:  # this small model may fail the answer checks, which are not tested here
            for name in QUALITY:
                self.redis.hdel(f"{PREFIX}metrics:{name}:{category}", "answer_fault")
        refreshed(self.proxy, self.redis, PREFIX)

    def measured(self, name: str) -> Mapping[str, str]:
        """The last benchmark's figures in the category ner."""
        return cast("dict[str, str]", self.redis.hgetall(f"{PREFIX}metrics:{name}:ner"))

    def ask(self, text: str = ASK, *, max_tokens: int = 12, **headers: str) -> httpx.Response:
        body = {"model": "smart", "max_tokens": max_tokens, "messages": [{"role": "user", "content": text}]}
        return self.post(body, headers)

    def post(self, body: Mapping[str, object], headers: Mapping[str, str]) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.proxy.url}/v1/chat/completions"
        return LOCAL.post(url, json=body, headers={**self.proxy.auth, **named})

    def record(self, request_id: str, within_s: float = 60.0) -> RequestRecord:
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            entries = self.redis.xrange(f"{PREFIX}slo_router:requests") or []
            for fields in [fields for _, fields in entries if fields is not None]:
                record = RequestRecord.model_validate_json(fields["record"])
                if record.request_id == request_id:
                    return record
            time.sleep(0.05)
        raise AssertionError(f"no record of {request_id} within {within_s:g} s")


def document(servers: Sequence[RunningServer], redis_url: str) -> dict[str, object]:
    return {
        "model_list": [
            {
                "model_name": "smart",
                "litellm_params": {
                    "model": f"openai/{server.deployment.name}",
                    "api_base": server.api_base,
                    "api_key": "none",
                    "input_cost_per_token": USD_PER_TOKEN[server.deployment.name],
                    "cache_read_input_token_cost": USD_PER_TOKEN[server.deployment.name],  # else free on 1.100
                    "output_cost_per_token": USD_PER_TOKEN[server.deployment.name],
                },
                "model_info": {
                    "id": server.deployment.name,
                    "max_input_tokens": server.deployment.context_tokens,
                    "slo_router": {"quality": QUALITY[server.deployment.name]},
                },
            }
            for server in servers
        ],
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {
            "slo_router": {
                "redis_url": redis_url,
                "key_prefix": PREFIX,
                "refresh_interval_s": 0.2,
                "groups": {"smart": {"slo": {"ttft_ms": 60_000}, "trial_share": 0}},
            }
        },
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


@pytest.fixture(scope="module")
def routed(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    directory = tmp_path_factory.mktemp("real")
    with (
        running_servers(DEPLOYMENTS) as servers,
        redis.Redis.from_url(valkey.url, decode_responses=True, socket_timeout=60) as client,
        StockProxy(document(servers, valkey.url), directory) as proxy,
    ):
        routed = Routed(proxy, client)
        routed.benchmark(directory)
        yield routed


def benchmark(config: Path, directory: Path) -> None:
    workload = directory / "workload.jsonl"
    prompts = [
        {"category": category, "max_tokens": 16, "messages": [{"role": "user", "content": text}]}
        for category, texts in PROMPTS.items()
        for text in texts
    ]
    workload.write_text("\n".join(map(json.dumps, prompts)))
    tool = str(Path(sys.executable).with_name("slo-bench"))
    options = ["--config", str(config), "--workload", str(workload), "--requests", "6", "--concurrency", "1"]
    options.append("--parallel")  # other work on the machine hits both alike
    done = subprocess.run([tool, "run", *options], capture_output=True, text=True, timeout=200, check=False)
    complaints = [line for line in done.stderr.splitlines() if line.startswith(("coarse", "fine"))]
    assert all("answers failed their checks" in line for line in complaints), done.stdout + done.stderr
    assert done.returncode == (1 if complaints else 0), done.stdout + done.stderr


def test_the_benchmark_finds_the_coarser_weights_faster(routed: Routed, tmp_path: Path) -> None:
    coarse, fine = routed.measured("coarse"), routed.measured("fine")
    for _ in range(5):  # a busy machine may make the other one faster, but not each time
        if float(coarse["ttft_p50_ms"]) < float(fine["ttft_p50_ms"]):
            break
        routed.benchmark(tmp_path)
        coarse, fine = routed.measured("coarse"), routed.measured("fine")
    assert {coarse["samples"], fine["samples"]} == {"6"}
    assert {coarse["error_rate"], fine["error_rate"]} == {"0"}
    assert 0 < float(coarse["ttft_p50_ms"]) < float(fine["ttft_p50_ms"])
    assert min(float(coarse["throughput_tps"]), float(fine["throughput_tps"])) > 0
    assert float(coarse["cost_per_1k"]) == pytest.approx(0.0001)
    assert float(fine["cost_per_1k"]) == pytest.approx(0.0002)


def test_a_request_goes_to_the_cheapest_and_is_answered_by_it(routed: Routed) -> None:
    answer = routed.ask()

    assert answer.status_code == 200, answer.text
    assert answer.headers["x-slo-selected-model"] == "coarse"
    assert answer.headers["x-slo-decision"] == "met"
    assert float(answer.headers["x-slo-predicted-ttft-ms"]) == pytest.approx(
        float(routed.measured("coarse")["ttft_p95_ms"]), abs=0.1
    )
    content = answer.json()
    assert content["choices"][0]["message"]["content"].strip()
    record = routed.record(content["id"])
    assert record.deployment == "coarse"
    usage = content["usage"]
    assert (record.prompt_tokens, record.completion_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert record.cost_usd == pytest.approx(usage["total_tokens"] * 1e-7)


def test_quality_is_paid_for_with_latency_and_money(routed: Routed) -> None:
    answer = routed.ask(x_slo_min_quality="0.5")
    assert (answer.headers["x-slo-selected-model"], answer.headers["x-slo-decision"]) == ("fine", "met")


def test_an_slo_that_this_machine_cannot_meet_falls_back_to_the_better_weights(routed: Routed) -> None:
    answer = routed.ask(x_slo_ttft_ms="1")
    assert answer.status_code == 200
    assert (answer.headers["x-slo-selected-model"], answer.headers["x-slo-decision"]) == ("fine", "fallback")


def test_a_prompt_that_the_coarse_ones_context_does_not_hold_goes_to_the_other(routed: Routed) -> None:
    answer = routed.ask(f"List all names. {'Ada met Bo in Rome. ' * 100}", max_tokens=4)  # 600 tokens

    assert answer.status_code == 200, answer.text
    assert answer.headers["x-slo-selected-model"] == "fine"
    assert answer.json()["usage"]["prompt_tokens"] > 512


def test_a_stream_leaves_a_record_with_its_first_token(routed: Routed) -> None:
    body = {
        "model": "smart",
        "stream": True,
        "max_tokens": 12,
        "messages": [{"role": "user", "content": ASK}],
    }
    answer = routed.post(body, {})
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]

    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]).strip()
    record = routed.record(chunks[0]["id"])
    assert record.deployment == answer.headers["x-slo-selected-model"] == "coarse"
    assert record.ttft_ms is not None
    assert record.e2e_ms is not None
    assert 0 < record.ttft_ms < record.e2e_ms
    assert record.completion_tokens is not None
    assert record.completion_tokens > 1
    assert record.slo_met is True
