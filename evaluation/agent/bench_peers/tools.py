"""How each tool is run on the same prompts, and where its own report has the figures.

The tools define the figures differently. The figures here follow the agent's definitions:

    TPOT   (E2E − TTFT) ÷ (tokens − 1)   aiperf: inter_token_latency, guidellm: inter_token_latency_ms
    ITL    gaps between chunks           aiperf: inter_chunk_latency, guidellm: none
    not    E2E ÷ tokens                  guidellm's time_per_output_token_ms, which has the TTFT in it

guidellm reports no throughput over a whole run. It is computed from the requests that guidellm lists.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml

from evaluation.agent.bench_peers.peers import Installed
from evaluation.shared.proxy_config import deployment, document
from slo_bench.load.plan import Selection, make_plan
from slo_bench.prompts.workload import Prompt, Workload
from slo_router.contract.model import Facts
from slo_router.contract.settings.deployments import ManagedDeployment

MODEL = "peer-test"
TIMEOUT_S = 600


class Work(NamedTuple):
    """What each tool has to do: prompts in order, the number at a time, and the endpoint's address without /v1."""

    prompts: Sequence[Prompt]
    concurrency: int
    url: str


class Figures(NamedTuple):
    """One run: medians in milliseconds, rates per second. `None`: the tool does not report this figure."""

    requests: int
    ttft_ms: float
    tpot_ms: float | None
    itl_ms: float | None
    e2e_ms: float
    output_tps: float
    requests_per_s: float


class Tool(Protocol):
    """A benchmark tool."""

    name: str

    def run(self, work: Work, place: Path) -> Figures:
        """Does the work; `place` is an empty folder. Raises RuntimeError if the tool failed."""
        ...


class Ours:
    """`slo-bench run`."""

    name = "slo-bench"

    def run(self, work: Work, place: Path) -> Figures:
        """See Tool."""
        config, workload = place / "config.yaml", place / "workload.jsonl"
        entry = deployment("peers", MODEL, f"{work.url}/v1")
        config.write_text(yaml.safe_dump(document([entry], {"peers": {}})), encoding="utf-8")
        _write(
            workload,
            [{"category": p.category, "max_tokens": p.max_tokens, "messages": p.messages} for p in work.prompts],
        )
        command = [str(Path(sys.executable).with_name("slo-bench")), "run", "--config", str(config), "--json"]
        load = ["--requests", str(len(work.prompts)), "--concurrency", str(work.concurrency), "--warmup", "0"]
        found = json.loads(_call([*command, "--workload", str(workload), *load, "--no-publish"], place))
        (cell,) = found["results"]
        return Figures(
            cell["requests"],
            cell["ttft_ms"]["p50"],
            cell["tpot_ms"]["p50"],
            cell["itl_ms"]["p50"],
            cell["e2e_ms"]["p50"],
            cell["throughput_tps"],
            cell["requests_per_s"],
        )


class AiPerf:
    """`aiperf profile`."""

    name = "aiperf"

    def __init__(self, installed: Installed) -> None:
        self._installed = installed

    def run(self, work: Work, place: Path) -> Figures:
        """See Tool."""
        prompts = place / "prompts.jsonl"
        _write(prompts, [{"text": _text(p), "output_length": p.max_tokens} for p in work.prompts])
        command = [str(self._installed.aiperf), "profile", "-m", MODEL, "--url", work.url, "--endpoint-type", "chat"]
        data = ["--input-file", str(prompts), "--custom-dataset-type", "single-turn"]
        order = ["--dataset-sampling-strategy", "sequential", "--use-legacy-max-tokens"]
        load = ["--concurrency", str(work.concurrency), "--request-count", str(len(work.prompts))]
        counts = ["--use-server-token-count", "--tokenizer", str(self._installed.tokenizer)]
        out = ["--output-artifact-dir", str(place / "out"), "--ui", "none"]
        _call([*command, "--streaming", *data, *order, *load, *counts, *out], place)
        found = json.loads((place / "out" / "profile_export_aiperf.json").read_text(encoding="utf-8"))
        return Figures(
            int(found["request_count"]["avg"]),
            found["time_to_first_token"]["p50"],
            found["inter_token_latency"]["p50"],
            found["inter_chunk_latency"]["p50"] if "inter_chunk_latency" in found else None,
            found["request_latency"]["p50"],
            found["output_token_throughput"]["avg"],
            found["request_throughput"]["avg"],
        )


class GuideLlm:
    """`guidellm run`."""

    name = "guidellm"

    def __init__(self, installed: Installed) -> None:
        self._installed = installed

    def run(self, work: Work, place: Path) -> Figures:
        """See Tool."""
        prompts, out = place / "prompts.jsonl", place / "out.json"
        _write(prompts, [{"prompt": _text(p), "output_tokens_count": p.max_tokens} for p in work.prompts])
        command = [
            str(self._installed.guidellm),
            "run",
            "--backend",
            f"kind=openai_http,target={work.url},model={MODEL}",
        ]
        load = ["--profile", f"kind=concurrent,streams={work.concurrency}"]
        until = ["--constraint", f"kind=max_requests,count={len(work.prompts)}"]
        data = ["--data", f"kind=json_file,path={prompts}"]
        counts = ["--tokenizer", f"kind=hf_auto,model={self._installed.tokenizer}"]
        report = ["--output", f"kind=json,path={out}", "--disable-console"]
        _call([*command, *load, *until, *data, *counts, *report], place, offline=True)
        (run,) = json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
        metrics, done = run["metrics"], run["requests"]["successful"]
        took_s = max(r["request_end_time"] for r in done) - min(r["request_start_time"] for r in done)
        return Figures(
            len(done),
            _median(metrics, "time_to_first_token_ms"),
            _median(metrics, "inter_token_latency_ms"),
            None,
            _median(metrics, "request_latency") * 1_000,
            sum(r["output_tokens"] for r in done) / took_s,
            len(done) / took_s,
        )


def in_our_order(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts in the order in which the agent sends them. It shuffles; the peers keep the order of their file."""
    managed = ManagedDeployment("peers", Facts(MODEL, f"openai/{MODEL}"), api_base="http://localhost/v1")
    plan = make_plan([managed], Workload(tuple(prompts)), Selection(len(prompts)), None)
    return list(plan.cells[0].prompts)


def _median(metrics: Mapping[str, Any], name: str) -> float:  # another project's JSON
    return float(metrics[name]["successful"]["median"])


def _text(prompt: Prompt) -> str:
    return str(prompt.messages[0]["content"])


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _call(command: Sequence[str], place: Path, *, offline: bool = False) -> str:
    environment = {**os.environ, **({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if offline else {})}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr[-2_000:]}{done.stdout[-2_000:]}"
        )
    return done.stdout


def fresh(place: Path) -> Path:
    """`place` as a new folder."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place
