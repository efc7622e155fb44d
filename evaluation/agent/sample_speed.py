"""How long `slo-bench sample` takes on a million records, and how much memory.

    python -m evaluation.agent.sample_speed

The records are real ones (`decide`, `build_record`), their prompts as long as those of a public chat service, with an
e-mail address in every third. The command runs as users run it, in a process of its own, three times.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from evaluation.overhead.report_speed import kinds
from evaluation.shared.data import TRAFFIC

RECORDS = 1_000_000
TEXTS = 4_000
WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "for",
    "is",
    "on",
    "that",
    "by",
    "this",
    "with",
    "you",
    "it",
    "not",
    "or",
    "be",
]


def lengths(rng: random.Random) -> list[int]:
    """Prompt tokens of recorded requests, or a lognormal of about their spread where the record is not there."""
    if not TRAFFIC.exists():
        return [min(int(rng.lognormvariate(6.5, 1.2)), 8_000) for _ in range(TEXTS)]
    with gzip.open(TRAFFIC, "rt") as file:
        column = next(file).strip().split(",").index("prompt_tokens")
        return rng.sample([int(line.split(",")[column]) for line in file], TEXTS)


def write_log(path: Path, records: int) -> None:
    """A log of `records` lines, made of TEXTS different ones."""
    rng = random.Random(1)
    originals = list(kinds(time.time()))
    lines = []
    for number, tokens in enumerate(lengths(rng)):
        text = " ".join(rng.choices(WORDS, k=tokens))
        if number % 3 == 0:
            text += f" write to user{number}@example.org"
        changes = {"prompt": [{"role": "user", "content": text}], "prompt_tokens": tokens, "stream": rng.random() < 0.7}
        lines.append(rng.choice(originals).model_copy(update=changes).model_dump_json() + "\n")
    with path.open("w", encoding="utf-8") as file:
        file.writelines(rng.choice(lines) for _ in range(records))


def runs(log: Path, output: Path, repeats: int) -> Iterator[tuple[float, float, dict[str, object]]]:
    """Seconds of a run of the command, those of them that it computed, and what it printed."""
    command = [sys.executable, "-c", "from slo_bench.cli import app; app()", "sample", str(log), "-o", str(output)]
    for _ in range(repeats):
        start_s, before_s = time.perf_counter(), cpu_s()
        done = subprocess.run([*command, "--json"], check=True, capture_output=True)
        yield time.perf_counter() - start_s, cpu_s() - before_s, json.loads(done.stdout)


def cpu_s() -> float:
    """CPU time of the children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Makes the log, samples it three times and prints what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as name:
        log, output = Path(name, "requests.jsonl"), Path(name, "workload.jsonl")
        write_log(log, records)
        took, computed, documents = zip(*runs(log, output, 3), strict=True)
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3  # kB on Linux
        size_gb = log.stat().st_size / 1e9
        survived = output.read_text(encoding="utf-8").count("@example.org")
    document = documents[0]
    print(f"{records:,} records, {size_gb:.2f} GB: {document['prompts']} prompts of {len(document['strata'])} strata")
    print(f"time  {min(took):.1f} s to {max(took):.1f} s, of them {min(computed):.1f} s to {max(computed):.1f} s CPU")
    print(f"peak  {peak_mb:.0f} MB")
    same = all(other == document for other in documents)
    print(f"replaced {document['replaced']}, {survived} addresses survived, the same sample each time: {same}")


if __name__ == "__main__":
    main()
