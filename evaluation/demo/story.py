"""The demo, step by step, for the person who watches it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from rich.console import Console

from evaluation.demo import report, scenario
from evaluation.demo.accounts import figures, join
from evaluation.demo.client import Answer, send_all
from evaluation.demo.endpoints import Endpoint
from evaluation.demo.errors import DemoError
from evaluation.demo.modes import Mode
from evaluation.demo.remarks import remarks
from evaluation.demo.scenario import Ask, Case, Load, VirtualKey
from evaluation.demo.stack import WORKERS, Stack
from evaluation.routing.categorizer import LabelledPrompt, load_prompts
from evaluation.shared.results import save
from slo_router.contract.model import CATEGORIES
from slo_router.contract.settings.config import load_settings
from slo_router.decision.known import pool

MS_PER_S = 1_000.0
WARMUP = Case("admin", "chat", 4 * WORKERS, stream=True)  # the first request of a worker is slower than the rest


class Narrator:
    """Prints what happens, with the seconds since the demo began."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began_s = perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return perf_counter() - self._began_s

    def step(self, title: str, text: str) -> None:
        """Prints a headline and what happens next."""
        self.console.print()
        self.console.print(f"{title}  [at {self.elapsed_s:.0f} s]", style="bold")
        self.console.print(text)

    def say(self, text: str) -> None:
        """Prints a line without wrapping it, so that commands and paths in it can be copied."""
        self.console.print(text, soft_wrap=True)


class Story:
    """One run of the demo. `exits` stops everything that the run starts.

    Every step raises DemoError, SloRouterError, RuntimeError or redis errors if something does not start or answer.
    """

    def __init__(
        self, mode: Mode, endpoints: Sequence[Endpoint], directory: Path, narrator: Narrator, *, is_saved: bool = False
    ) -> None:
        self._mode = mode
        self._endpoints = endpoints
        self._directory = directory
        self._narrator = narrator
        self._is_saved = is_saved
        self._prompts = load_prompts()

    def start(self, exits: ExitStack) -> Stack:
        """Starts Valkey and the proxy, and warms the proxy up."""
        self._narrator.step("1  Endpoints", self._mode.what)
        self._narrator.console.print(report.endpoint_table(self._endpoints))
        title = f"2  Redis, and the stock LiteLLM proxy with the plugin on {WORKERS} workers"
        self._narrator.step(title, "starting, half a minute or less …")
        stack = Stack(self._directory, self._endpoints, exits)
        load_settings(stack.proxy.config_path)  # a clear error before anything heavy starts
        stack.start_proxy()
        warmup = [Ask(WARMUP, self._prompts[-1].messages, max_tokens=8)] * WARMUP.count
        send_all(stack.proxy.url, {WARMUP.key: stack.proxy.master_key}, warmup, WARMUP.count)
        self._narrator.say(f"{stack.proxy.url} serves {stack.proxy.config_path}")
        return stack

    def measure(self, stack: Stack) -> None:
        """Runs the benchmark as a user runs it."""
        options = list(self._mode.benchmark)
        if self._mode.via_proxy:
            options += ["--via-proxy", stack.proxy.url]
        if self._mode.load.short:
            options += ["--workload", str(_short_workload(self._prompts, self._mode.load, self._directory))]
        self._narrator.step("3  Benchmark", "what the router will know of latencies, measured as a team would:")
        self._narrator.say(f"slo-bench run --config litellm_config.yaml {' '.join(options)}")
        stack.benchmark(*options)

    def ask(self, stack: Stack) -> Mapping[str, str]:
        """Sends the requests and shows what became of them. Returns the keys' secrets by alias."""
        load = self._mode.load
        keys = scenario.virtual_keys(self._endpoints, _ttft_slo_ms(stack, self._endpoints))
        secrets = stack.issue(keys)
        asks = scenario.requests(self._endpoints, self._prompts, load)
        title = f"4  {len(asks)} requests with {len(keys)} virtual keys, {load.concurrency} at a time"
        self._narrator.step(title, scenario.rules(self._endpoints))
        stack.begin_account()
        answers = send_all(stack.proxy.url, secrets, asks, load.concurrency)
        self._show(stack, keys, answers)
        if failed := [answer.error for answer in answers if answer.error is not None]:
            kinds = ", ".join(sorted(set(failed)))
            raise DemoError(f"{len(failed)} requests failed ({kinds}); see {stack.proxy.log_path}")
        return secrets

    def _show(self, stack: Stack, keys: Sequence[VirtualKey], answers: Sequence[Answer]) -> None:
        served = join(answers, stack.records([answer.response_id for answer in answers if answer.response_id]))
        facts = [deployment.facts for deployment in load_settings(stack.proxy.config_path).deployments]
        best = next(one for one in facts if one.deployment_id == scenario.best(self._endpoints).name)
        console = self._narrator.console
        console.print()
        console.print(report.routing_table(served, scenario.cases(self._endpoints)))
        console.print()
        console.print(report.account_table(served, keys, facts, best))
        console.print()
        console.print(report.remark_list(remarks(served, keys, facts, best)))
        if self._is_saved:
            save(figures(served, {key.alias: key.wants for key in keys}, facts, best))


def _short_workload(prompts: Sequence[LabelledPrompt], load: Load, directory: Path) -> Path:
    """Writes a workload of short prompts of every category, different from those of the requests."""
    path = directory / "workload.jsonl"
    chosen = [p for p in prompts if p.split == "train" and len(str(p.messages)) <= scenario.SHORT_CHARS]
    lines = [
        json.dumps({"category": p.category, "max_tokens": load.max_tokens[p.category], "messages": p.messages})
        for p in chosen
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _ttft_slo_ms(stack: Stack, endpoints: Sequence[Endpoint]) -> float:
    """A limit between the fastest and the slowest endpoint's TTFT p95, each taken from its slowest category."""
    pooled = [pool(stack.metrics(endpoint.name, CATEGORIES)) for endpoint in endpoints]
    measured = [metrics.ttft_p95_s for metrics in pooled if metrics is not None and metrics.ttft_p95_s]
    if not measured:
        raise DemoError("no endpoint's time to the first token was measured")
    return scenario.between(min(measured), max(measured)) * MS_PER_S
