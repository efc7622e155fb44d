"""How well a sample's mean prompt length is the traffic's.

    python -m evaluation.agent.sample_bias

The traffic has the recorded prompt lengths of a public chat service, or log-normal ones if the record is missing. Of
the requests 70 % are streamed. A floor gives rare long prompts more than their share, which biases the mean. The study
shows relative errors of the mean over 200 seeds, beside those of a simple random sample of the same size.
"""

from __future__ import annotations

import random
import statistics

import typer

from evaluation.shared.data import prompt_tokens
from evaluation.shared.results import Save, save
from slo_bench.sampling.candidate import Candidate
from slo_bench.sampling.strata import StratifiedSample

SEEDS, TRAFFIC_PROMPTS = 200, 4_000
SIZES = (50, 100, 200)
FLOORS = (0, 1, 2, 5)


def errors(traffic: list[Candidate], size: int, floor: int | None) -> list[float]:
    """Relative error of the mean for each seed; `floor` is `None` for a simple random sample."""
    mean = statistics.fmean(one.tokens() for one in traffic)
    found = []
    for seed in range(SEEDS):
        rng = random.Random(f"{seed}")
        if floor is None:
            drawn = rng.sample(traffic, size)
        else:
            sample = StratifiedSample(size, floor, rng)
            for one in traffic:
                sample.offer(one)
            drawn, _ = sample.draw()
        found.append(statistics.fmean(one.tokens() for one in drawn) / mean - 1)
    return found


def main(*, is_saved: Save = False) -> None:
    """How well a sample's mean prompt length is the traffic's: bias and standard deviation for each size and floor."""
    rng, rows = random.Random(0), []
    traffic = [Candidate("chat", rng.random() < 0.7, [], tokens) for tokens in prompt_tokens(rng, TRAFFIC_PROMPTS)]
    for size in SIZES:
        for floor in (None, *FLOORS):
            found = errors(traffic, size, floor)
            name = "simple random" if floor is None else f"floor {floor}"
            bias, deviation = statistics.fmean(found), statistics.stdev(found)
            print(f"{size:4} prompts, {name:13}  bias {bias:+.1%}  standard deviation {deviation:.1%}")
            row = {"prompts": size, "floor": floor, "bias_percent": 100 * bias, "deviation_percent": 100 * deviation}
            rows.append(row)
    if is_saved:
        save({"seeds": SEEDS, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
