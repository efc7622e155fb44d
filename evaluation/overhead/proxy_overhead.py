"""What the plugin costs the proxy: CPU per request with it, with a callback that does nothing, and with neither.

    python -m evaluation.overhead.proxy_overhead [--starts 8] [--rounds 3] [--requests 100] [--stream [--chunks 500]]

Four stock proxies with one worker each share three endpoints, which answer at once. Each round sends the same requests
to each proxy, one after another: blocks of 15 (2 for answers of 500 chunks) go to the proxies in rotating order. So
other work on the machine hits all four alike. Two processes of the same proxy differ by up to 4 % as long as they live,
because each lays out its memory and its hashes anew. So all four are restarted several times, each time in another
order, and ratios are taken within a start. CPU is user and system time of the proxy's processes, from Linux's /proc,
with the background jobs. LiteLLM does some work only if there is any callback. So the bar compares with a callback that
does nothing in the same hooks. A callback with the hook for streams makes each piece of a stream pass through it. The
fourth proxy's callback lacks this hook, and the bar holds against that one as well.
"""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import redis
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from evaluation.emulator import EndpointSpec, Handle, instant, running_endpoints
from evaluation.shared import proxy_config
from evaluation.shared.results import Aim, Save, Spread, conclude
from evaluation.shared.sample import messages_of_words
from evaluation.shared.stock_proxy import StockProxy
from slo_router.contract.keys import metrics_key
from slo_router.contract.metrics_hash import write_metrics
from slo_router.contract.model import CATEGORIES, Metrics
from slo_router.contract.redis import embedded

GROUP = "smart"
BAR = 1.05  # plugin ÷ either no-op callback, median over the starts
WARM_UP_REQUESTS = 150  # near its 100th request a new proxy collects the garbage of its start
BLOCK = 20  # requests at most to one proxy before the next proxy's turn: a machine's speed changes within seconds
BLOCK_CHUNKS = 1_000  # tokens at most in the answers of a block
WORDS = 200
MS_PER_S = 1_000.0
CALLBACKS = {
    "plugin": proxy_config.CALLBACK,
    "no-op": "noop_callback.callback",
    "no-op without the stream's hook": "blind_callback.callback",
    "none": None,
}
BARRED = ("no-op", "no-op without the stream's hook")
_HOOKS = '''
from litellm.integrations.custom_logger import CustomLogger


class Noop(CustomLogger):
    """The hooks that the plugin has, empty."""

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        return None

    async def async_filter_deployments(
        self, model, healthy_deployments, messages, request_kwargs=None, parent_otel_span=None
    ):
        return healthy_deployments

    async def async_pre_call_deployment_hook(self, kwargs, call_type):
        return None

    async def async_post_call_failure_deployment_hook(self, request_data, exception, call_type):
        return None

    async def async_post_call_response_headers_hook(
        self, data, user_api_key_dict, response, request_headers=None, litellm_call_info=None
    ):
        return None

    async def async_logging_hook(self, kwargs, result, call_type):
        return kwargs, result

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        return None

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        return None

    async def async_post_call_failure_hook(
        self, request_data, original_exception, user_api_key_dict, traceback_str=None
    ):
        return None
{stream_hook}

callback = Noop()
'''
_STREAM_HOOK = """
    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        async for piece in response:
            yield piece
"""
NOOP, BLIND = (_HOOKS.replace("{stream_hook}", hook) for hook in (_STREAM_HOOK, ""))


class MeasuredProxy(StockProxy):
    """A stock proxy that tells its CPU and memory."""

    def cpu_s(self) -> float:
        """Seconds of CPU, user and system, of all processes of the proxy since its start."""
        # utime, stime and those of ended children
        return sum(sum(map(int, fields[11:15])) for fields in self._stats()) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Resident memory of all processes of the proxy now."""
        return sum(int(fields[21]) for fields in self._stats()) * os.sysconf("SC_PAGE_SIZE")

    def _stats(self) -> Iterator[list[str]]:
        """For each process of the proxy's session, the fields of /proc/PID/stat after the name; see proc(5)."""
        session = str(self._process.pid) if self._process is not None else ""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # the process ended meanwhile
                fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[3] == session:
                    yield fields


def document(handles: Sequence[Handle], callback: str | None) -> dict[str, object]:
    """One proxy's whole configuration. `freeze_heap` is off, because it saves a proxy more than the plugin costs."""
    entries = [
        proxy_config.deployment(
            GROUP,
            handle.name,
            handle.api_base,
            usd=(1e-7 * (index + 1), 2e-7 * (index + 1)),
            quality=0.6 + 0.1 * index,
        )
        for index, handle in enumerate(handles)
    ]
    groups = {GROUP: {"slo": {"ttft_ms": 500}, "min_quality": 0.5}}
    made = proxy_config.document(entries, groups, redis_url="embedded", freeze_heap=False)
    if callback != CALLBACKS["plugin"]:
        del made["callback_settings"]
    callbacks = {"callbacks": [callback]} if callback else {}
    return made | {"litellm_settings": callbacks, "router_settings": {"routing_strategy": "simple-shuffle"}}


def started(stack: ExitStack, handles: Sequence[Handle], directory: Path, home: Path) -> dict[str, MeasuredProxy]:
    """Starts a proxy with each callback, in random order; by callback's name. `stack` stops them."""
    proxies: dict[str, MeasuredProxy] = {}
    for name in random.sample(list(CALLBACKS), len(CALLBACKS)):
        place = directory / str(len(proxies))
        place.mkdir(parents=True)
        (place / "noop_callback.py").write_text(NOOP, encoding="utf-8")
        (place / "blind_callback.py").write_text(BLIND, encoding="utf-8")
        environment = {embedded.DIRECTORY_VARIABLE: str(home)}
        proxy = MeasuredProxy(document(handles, CALLBACKS[name]), place, environment=environment)
        proxies[name] = stack.enter_context(proxy)
    return proxies


def publish(home: Path, names: Sequence[str], ttft_s: float = 0.05) -> None:
    """Starts the embedded server in `home` and writes metrics of every deployment and category."""
    fields = write_metrics(Metrics(measured_at_s=time.time(), ttft_s=ttft_s, tpot_s=0.01, error_rate=0.0, samples=100))
    with redis.Redis.from_url(embedded.ensure_running(home)) as client:
        for name in names:
            for category in CATEGORIES:
                client.hset(metrics_key("", name, category), mapping=dict(fields))


@contextmanager
def world(specs: Sequence[EndpointSpec]) -> Iterator[tuple[Path, Path, list[Handle]]]:
    """Yields a folder, the home of the embedded server (with metrics of every endpoint), and the running endpoints."""
    with tempfile.TemporaryDirectory(prefix="slo-") as name, running_endpoints(specs) as handles:
        home = Path(name) / "valkey"
        publish(home, [spec.name for spec in specs])
        try:
            yield Path(name), home, handles
        finally:
            embedded.stop(home)


class Sender:
    """Sends the same request again and again over one kept-alive connection to each proxy."""

    def __init__(self, client: httpx.Client, *, stream: bool, max_tokens: int = 64) -> None:
        self._client = client
        self.block = max(min(BLOCK, BLOCK_CHUNKS // max_tokens), 1)
        self._body = {"model": GROUP, "messages": messages_of_words(WORDS), "max_tokens": max_tokens, "stream": stream}

    def send(self, proxy: StockProxy, count: int, **changed: object) -> httpx.Response:
        """Sends `count` requests one after another and returns the last answer. Raises httpx.HTTPStatusError."""
        for _ in range(count):
            body = self._body | changed
            answer = self._client.post(f"{proxy.url}/v1/chat/completions", json=body, headers=proxy.auth)
            answer.raise_for_status()
        return answer

    def warm_up(self, proxy: StockProxy) -> httpx.Response:
        """Sends short answers until the proxy is in its lasting state, then a block as in the measurement."""
        self.send(proxy, WARM_UP_REQUESTS, max_tokens=16)
        return self.send(proxy, self.block)

    def cpu_s(self, proxy: MeasuredProxy, count: int) -> float:
        """The proxy's CPU seconds that `count` requests took."""
        before_s = proxy.cpu_s()
        self.send(proxy, count)
        return proxy.cpu_s() - before_s


def measure(proxies: Mapping[str, MeasuredProxy], sender: Sender, rounds: int, requests: int) -> dict[str, float]:
    """CPU per request in milliseconds by callback's name, the median over the rounds."""
    for name, proxy in proxies.items():
        routed = "x-slo-decision" in sender.warm_up(proxy).headers
        if routed != (name == "plugin"):
            raise RuntimeError(f"the proxy with {name} {'is' if routed else 'is not'} routed by the plugin")
    taken: dict[str, list[float]] = {name: [] for name in proxies}
    names = deque(proxies)
    blocks = max(requests // sender.block, 1)
    for _ in range(rounds):
        spent_s = dict.fromkeys(proxies, 0.0)
        for _ in range(blocks):
            names.rotate()
            for name in names:
                spent_s[name] += sender.cpu_s(proxies[name], sender.block)
        for name, seconds in spent_s.items():
            taken[name].append(seconds / (blocks * sender.block) * MS_PER_S)
    return {name: statistics.median(values) for name, values in taken.items()}


def report(console: Console, taken: Mapping[str, list[float]]) -> dict[str, Spread]:
    """Prints the table. Returns plugin ÷ each callback, with its spread over the starts."""
    table = Table(
        "proxy with", "CPU ms per request", "plugin ÷ it", title="proxy overhead: median (lowest–highest start)"
    )
    ratios = {
        peer: Spread.of(ours / its for ours, its in zip(taken["plugin"], values, strict=True))
        for peer, values in taken.items()
    }
    for name, values in taken.items():
        table.add_row(name, Spread.of(values).text(2), ratios[name].text(3))
    console.print(table)
    return ratios


def main(
    starts: Annotated[int, typer.Option(help="How often all proxies are started anew; a minute each.", min=1)] = 8,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds of each.", min=1)] = 3,
    requests: Annotated[int, typer.Option(help="Requests per round and proxy.", min=1)] = 100,
    *,
    stream: Annotated[bool, typer.Option("--stream", help="Stream the answers.")] = False,
    chunks: Annotated[int | None, typer.Option(help="Tokens of each answer, one a chunk.", min=1)] = None,
    is_saved: Save = False,
) -> None:
    """CPU per request of the stock proxy with the plugin, with an empty callback and with neither."""
    length = {} if chunks is None else {"output_tokens": 2 * chunks}  # the shortest answer is half of the mean
    specs = [instant(name, **length) for name in ("small", "medium", "large")]
    taken: dict[str, list[float]] = {name: [] for name in CALLBACKS}
    with world(specs) as (directory, home, handles):
        for start in track(range(starts), "starting anew", console=Console(stderr=True)):
            with ExitStack() as running:
                proxies = started(running, handles, directory / str(start), home)
                sender = Sender(running.enter_context(httpx.Client(timeout=30)), stream=stream, max_tokens=chunks or 64)
                for name, cpu_ms in measure(proxies, sender, rounds, requests).items():
                    taken[name].append(cpu_ms)
    ratios = report(Console(width=120), taken)
    if stream and chunks:
        for peer in BARRED:
            us = Spread.of((a - b) / chunks * 1e3 for a, b in zip(taken["plugin"], taken[peer], strict=True))
            print(f"plugin − {peer}: {us.text(2)} µs of CPU per chunk")
    form = ", ".join(["streamed"] * stream + ([f"{chunks} tokens each"] if chunks else []))
    sent = max(requests // sender.block, 1) * sender.block
    print(f"{starts} starts, {rounds} rounds of {sent} requests one after another to each proxy; {form or 'whole'}")
    of_noop, of_blind = (ratios[peer] for peer in BARRED)
    aims = [Aim.at_most(BAR, f"CPU of a request ÷ that with {peer}:", ratios[peer].value, 3) for peer in BARRED]
    conclude({"starts": starts, "of_noop": of_noop, "of_blind": of_blind}, aims, form=form, is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
