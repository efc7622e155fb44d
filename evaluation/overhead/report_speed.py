"""How long `slo-router report` takes on a million records, and how much memory.

    python -m evaluation.overhead.report_speed

The records are real ones (`decide`, `build_record`) of a few hundred different requests to three deployments, written
as five workers' JSONL logs with ids and times of their own. The command runs as users run it, in a process of its own;
the first run may wait for the disk, and the best and worst of three are printed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from evaluation.shared.proxy_config import deployment, document
from slo_router.contract.model import Facts, Features, Metrics, Slo
from slo_router.contract.prices import cost_usd
from slo_router.contract.record import RequestRecord
from slo_router.contract.settings.config import GroupSettings
from slo_router.decision.decide import Ask, Policy, decide
from slo_router.decision.prediction import View
from slo_router.worker.attempt import Attempt
from slo_router.worker.records import build_record
from slo_router.worker.snapshot import make_snapshot
from slo_router.worker.trace import Trace

RECORDS = 1_000_000
WORKERS = 5
KINDS = 400
DAYS_S = 29 * 86_400
BAR_S, BAR_GB = 30.0, 1.0
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
    """Different requests, each decided and recorded as the plugin does it."""
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


def write_logs(folder: Path, records: int) -> Path:
    """The logs of all workers; returns the name that `log.jsonl_path` would have."""
    now_s = time.time()
    texts = [record.model_dump_json() for record in kinds(now_s)]
    # Each record is cut around its time and its id, which are written anew.
    pieces = []
    for text in texts:
        head, _, rest = text.partition('"ts":')
        _, _, rest = rest.partition(",")
        _, _, rest = rest.partition('"request_id":"')
        pieces.append((head + '"ts":', ',"request_id":"', rest.partition('"')[2]))
    rng = random.Random(2)
    for worker in range(WORKERS):
        with (folder / f"requests.{1_000 + worker}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(worker, records, WORKERS):
                head, middle, tail = rng.choice(pieces)
                file.write(f'{head}{now_s - DAYS_S * (1 - number / records):.3f}{middle}chatcmpl-{number}"{tail}\n')
    return folder / "requests.jsonl"


def main() -> None:
    """Makes the logs, runs the report three times and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "config.yaml"
        config.write_text(json.dumps(document(MODEL_LIST, {"smart": {}})))
        log = write_logs(folder, records)
        size_gb = sum(path.stat().st_size for path in folder.glob("*.jsonl")) / 1e9
        command = [sys.executable, "-c", "from slo_router.operator.cli import app; app()", "report"]
        command += ["--since", "30d", "--json"]
        took: list[float] = []
        for _ in range(3):
            start_s = time.perf_counter()
            done = subprocess.run(
                [*command, "--log", str(log), "--config", str(config), "--html", str(folder / "report.html")],
                check=True,
                capture_output=True,
            )
            took.append(time.perf_counter() - start_s)
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6  # kB on Linux
        total = json.loads(done.stdout)["total"]
    print(f"{records:,} records, {size_gb:.2f} GB in {WORKERS} files: {total['requests']:,} counted")
    print(f"time  {min(took):.1f} s to {max(took):.1f} s (aimed for {BAR_S:g} s)")
    print(f"peak  {peak_gb:.3f} GB (aimed for {BAR_GB:g} GB)")


if __name__ == "__main__":
    main()
