"""Which quantizations of a real model does the shipped suite tell apart?

    python -m evaluation.quality.quality_real

SmolLM2-135M as it ships (Q4_1), the same weights in 8 bits (Q8_0) and rounded to 2 bits (Q2), each on llama.cpp's own
server, are asked the default suite by `slo-bench quality`. What must come out: 2 bits are told from 8 in the categories
that this small model has any grip on, 8 bits are not told from the original in any. Answers are kept beside the
weights, so a study that was stopped goes on. About a quarter of an hour on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
import yaml

from evaluation.shared.real_model import cache_dir
from evaluation.shared.real_server import RealDeployment, RunningServer, running_servers

DEPLOYMENTS = (
    RealDeployment(name="original", quantization="Q4_1", slots=1),
    RealDeployment(name="8-bit", quantization="Q8_0", slots=1),
    RealDeployment(name="2-bit", quantization="Q2", slots=1),
)
GRIP = ("ner", "summarization")  # a model of 135 million parameters reasons too seldom right to lose much


def main(minutes: float = 60.0) -> None:
    """Runs the suite, prints the tool's tables and whether the expectations hold; exit code 1 where they don't."""
    with running_servers(DEPLOYMENTS) as servers, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "litellm_config.yaml"
        config.write_text(yaml.safe_dump(document(servers)), encoding="utf-8")
        options = ["--config", str(config), "--no-publish", "--max-minutes", f"{minutes:g}", "--timeout-s", "300"]
        options += ["--items", "30", "--concurrency", "1", "--max-age-hours", "600"]
        print(run(options), flush=True)
        found = json.loads(run([*options, "--json"]))  # the same answers, asked of nobody
    pairs = {(one["category"], *sorted((one["first"], one["second"]))): one for one in found["differences"]}
    faults = [*expect(pairs, ("2-bit", "8-bit"), GRIP, apart=True)]
    categories = sorted({one["category"] for one in found["differences"]})
    faults += expect(pairs, ("8-bit", "original"), categories, apart=False)
    print("\n".join(faults) or "as expected: 2 bits are told from 8, 8 bits are not told from the original")
    sys.exit(1 if faults else 0)


def document(servers: Sequence[RunningServer]) -> dict[str, object]:
    """The proxy's configuration; the agent calls the servers directly."""
    entries = [
        {
            "model_name": "smart",
            "litellm_params": {"model": f"openai/{one.deployment.name}", "api_base": one.api_base, "api_key": "none"},
            "model_info": {"id": one.deployment.name},
        }
        for one in servers
    ]
    return {"model_list": entries, "callback_settings": {"slo_router": {"groups": {"smart": {}}}}}


def run(options: Sequence[str]) -> str:
    """What `slo-bench quality` prints; its remarks go to our error output."""
    tool = str(Path(sys.executable).with_name("slo-bench"))
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache_dir() / "quality_real")}
    done = subprocess.run([tool, "quality", *options], stdout=subprocess.PIPE, text=True, check=False, env=environment)
    return done.stdout


def expect(
    pairs: Mapping[tuple[str, ...], Mapping[str, object]],
    names: Sequence[str],
    categories: Sequence[str],
    *,
    apart: bool,
) -> list[str]:
    """A line for each category in which the two are told apart and should not be, or the other way round."""
    return [
        f"{category}: {' and '.join(names)} {'are' if not apart else 'are not'} told apart"
        for category in categories
        if pairs[category, *names]["told_apart"] is not apart
    ]


if __name__ == "__main__":
    typer.run(main)
