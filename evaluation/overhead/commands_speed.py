"""How long `slo-router report`, `slo-bench sample` and `slo-router explain` take on many records, and how much memory.

    python -m evaluation.overhead.commands_speed

The records are those of `evaluation.shared.records`, each with its own id and time. The report reads the JSONL logs of
five workers. The sample reads one log whose prompts are as long as recorded ones; every third has an e-mail address.
`explain` reads a real Valkey. It looks for the newest, the middle and the oldest record, with the index and without it:
records of an earlier version have none. Each command runs as users run it, in its own process.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from evaluation.shared.data import prompt_tokens
from evaluation.shared.proxy_config import document
from evaluation.shared.records import MODEL_LIST, kinds
from evaluation.shared.results import Aim, Save, Spread, conclude
from evaluation.shared.sample import words
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.contract.keys import REQUESTS_STREAM, request_index_key
from slo_router.contract.redis.link import BlockingClient, connect, connect_blocking
from slo_router.contract.settings.config import LogSettings
from slo_router.operator.reporting.lookup import find_in_stream
from slo_router.worker.request_log import RequestLog

WORKERS, DAYS_S = 5, 29 * 86_400
TEXTS = 4_000  # number of different prompts
PAGE = 1_000
REPEATS = 3
REPORT_S, REPORT_GB, EXPLAIN_S = 30.0, 1.0, 1.0
ROUTER, BENCH = (f"from {package}.cli import app; app()" for package in ("slo_router.operator", "slo_bench"))


def write_logs(folder: Path, records: int) -> Path:
    """The logs of all workers; returns the name that `log.jsonl_path` would have."""
    now_s, rng, pieces = time.time(), random.Random(2), []
    for record in kinds(now_s):  # time and id are cut out, and written anew below
        head, _, rest = record.model_dump_json().partition('"ts":')
        _, _, tail = rest.partition('"request_id":"')
        pieces.append((head, tail.partition('"')[2]))
    for worker in range(WORKERS):
        with (folder / f"requests.{1_000 + worker}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(worker, records, WORKERS):
                head, tail = rng.choice(pieces)
                at_s = now_s - DAYS_S * (1 - number / records)
                file.write(f'{head}"ts":{at_s:.3f},"request_id":"chatcmpl-{number}"{tail}\n')
    return folder / "requests.jsonl"


def write_prompts(path: Path, records: int) -> None:
    """Writes a log of `records` lines, with TEXTS different prompts."""
    rng, originals, lines = random.Random(1), list(kinds(time.time())), []
    for number, tokens in enumerate(prompt_tokens(rng, TEXTS)):
        text = words(tokens, seed=number) + (f" write to user{number}@example.org" if number % 3 == 0 else "")
        changes = {"prompt": [{"role": "user", "content": text}], "prompt_tokens": tokens, "stream": rng.random() < 0.7}
        lines.append(rng.choice(originals).model_copy(update=changes).model_dump_json() + "\n")
    with path.open("w", encoding="utf-8") as file:
        file.writelines(rng.choice(lines) for _ in range(records))


async def write_stream(url: str, records: int) -> None:
    """Writes the records as the plugin's own log does."""
    made, log = list(kinds(time.time())), RequestLog(LogSettings(), "")
    async with connect(url) as client:
        for number in range(records):
            log.offer(made[number % len(made)].model_copy(update={"request_id": name(number)}))
            if number % PAGE == PAGE - 1:
                await log.flush(client)
        await log.flush(client)


def name(number: int) -> str:
    """A request id as long as LiteLLM's."""
    return f"chatcmpl-{number:032x}"


def timed(call: Callable[[], object]) -> Spread:
    """The seconds that REPEATS calls take."""
    took_s = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        call()
        took_s.append(time.perf_counter() - began_s)
    return Spread.of(took_s)


def called(program: str, *arguments: str) -> Callable[[], object]:
    """A function that runs a command in its own process."""
    return partial(subprocess.run, [sys.executable, "-c", program, *arguments], check=True, capture_output=True)


def peak_gb() -> float:
    """The most memory that any child process has had so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6  # kB on Linux


def searched(client: BlockingClient, records: int) -> Spread:
    """The seconds to find the newest, the middle or the oldest record, whichever takes longest."""
    places = {"newest": records - 1, "middle": records // 2, "oldest": 0}
    found = {}
    for which, number in places.items():
        if find_in_stream(client, REQUESTS_STREAM, name(number)) is None:
            raise LookupError(name(number))
        found[which] = timed(partial(find_in_stream, client, REQUESTS_STREAM, name(number)))
        print(f"  {which}: {found[which].text(3)} s")
    return max(found.values(), key=lambda spread: spread.value)


def explained(folder: Path, records: int) -> dict[str, Spread]:
    """Seconds of the command for the oldest record, and of the search with and without the index."""
    with ValkeyServer(folder, options={"appendonly": "no"}) as server:
        asyncio.run(write_stream(server.url, records))
        config = folder / "config.yaml"
        config.write_text(json.dumps(document(MODEL_LIST, {"smart": {}}, redis_url=server.url)))
        with connect_blocking(server.url) as client:
            index = request_index_key(REQUESTS_STREAM)
            print("explain, by the index")
            by_index = searched(client, records)
            whole = timed(called(ROUTER, "explain", name(0), "--config", str(config), "--json"))
            client.delete(index)
            print("explain, without it")
            return {"command_s": whole, "search_s": by_index, "search_without_index_s": searched(client, records)}


def main(
    records: Annotated[int, typer.Option(help="Of the report and the sample.", min=PAGE)] = 1_000_000,
    stream_records: Annotated[int, typer.Option(help="In Redis, for explain.", min=PAGE)] = 100_000,
    *,
    is_saved: Save = False,
) -> None:
    """How long the commands take that read records, and how much memory."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prompts, workload, config = folder / "prompts.log", folder / "workload.jsonl", folder / "config.yaml"
        write_prompts(prompts, records)
        sample_s = timed(called(BENCH, "sample", str(prompts), "-o", str(workload), "--json"))
        sample_gb, leaked = peak_gb(), workload.read_text(encoding="utf-8").count("@example.org")
        prompts.unlink()
        config.write_text(json.dumps(document(MODEL_LIST, {"smart": {}})))
        files = [
            "--log",
            str(write_logs(folder, records)),
            "--config",
            str(config),
            "--html",
            str(folder / "page.html"),
        ]
        report_s = timed(called(ROUTER, "report", "--since", "30d", "--json", *files))
        report_gb = peak_gb()
    print(f"sample  {sample_s.text(1)} s of {records:,} records, peak {sample_gb:.3f} GB, {leaked} addresses survived")
    print(f"report  {report_s.text(1)} s of {records:,} records, peak {report_gb:.3f} GB at most")
    with tempfile.TemporaryDirectory() as place:
        explain = explained(Path(place), stream_records)
    print(f"explain {explain['command_s'].text(2)} s, the oldest of {stream_records:,} records")
    aims = [
        Aim.at_most(0, "addresses that a sample kept:", leaked, 0),
        Aim.at_most(REPORT_S, "a report takes", report_s.value, 1, " s"),
        Aim.at_most(REPORT_GB, "a report takes", report_gb, 2, " GB"),
        Aim.at_most(EXPLAIN_S, "explain takes", explain["command_s"].value, 2, " s"),
    ]
    seconds = {"sample_s": sample_s, "report_s": report_s, "explain": explain}
    sizes = {"records": records, "stream_records": stream_records, "sample_gb": sample_gb, "report_gb": report_gb}
    conclude(sizes | seconds, aims, is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
