"""What the plugin's metrics cost: their share of the CPU that a stock proxy with the plugin spends on a request.

    python -m evaluation.overhead.metrics_cost [--rounds 10] [--requests 200]

Two proxies side by side cannot show a difference of 2 %: they differ by more from round to round. So the calls into
`Telemetry` are timed inside the serving proxy, with the thread's own CPU clock. There they run among all the other code
that competes for the processor's caches. The study divides that by the CPU of the whole proxy for the same requests.
That proxy runs without LiteLLM's own Prometheus callback, so the share is rather too large. The metrics lie in files,
as with several workers.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import httpx
import typer

from evaluation.emulator import instant
from evaluation.overhead.proxy_overhead import CALLBACKS, WARM_UP_REQUESTS, MeasuredProxy, Sender, document, world
from evaluation.shared.results import Aim, Save, Spread, conclude
from slo_router.contract.redis import embedded

BAR_PERCENT = 2  # of a request's CPU, median over the rounds
TOLD = "spent_ns"  # once a second the proxy writes the CPU of its metrics into this file
TOLD_EVERY_S = 1.0
US_PER_S = 1e6
TIMED = f'''
import time
from pathlib import Path

from slo_router.proxy import callback
from slo_router.telemetry.telemetry import Telemetry

spent_ns = 0


def timed(function):
    def call(*arguments, **named):
        global spent_ns
        begun_ns = time.thread_time_ns()
        try:
            return function(*arguments, **named)
        finally:
            spent_ns += time.thread_time_ns() - begun_ns

    return call


def timed_step_by_step(function):
    def call(*arguments, **named):
        step = timed(function(*arguments, **named).__next__)
        while True:
            try:
                step()
            except StopIteration:
                Path(__file__).with_name("{TOLD}").write_text(str(spent_ns))
                return
            yield

    return call


for name in ("decided", "observe"):
    setattr(Telemetry, name, timed(getattr(Telemetry, name)))
Telemetry.refreshing = timed_step_by_step(Telemetry.refreshing)
'''


def measure(proxy: MeasuredProxy, told: Path, sender: Sender, rounds: int, requests: int) -> list[tuple[float, float]]:
    """CPU seconds per request in each round: of the metrics, and of the whole proxy."""
    if "x-slo-decision" not in sender.send(proxy, WARM_UP_REQUESTS).headers:
        raise RuntimeError("the proxy is not routed by the plugin")
    taken = []
    for _ in range(rounds):
        time.sleep(2 * TOLD_EVERY_S)  # until the proxy has written what the last requests took
        before = int(told.read_text()), proxy.cpu_s()
        sender.send(proxy, requests)
        whole_s = proxy.cpu_s() - before[1]
        time.sleep(2 * TOLD_EVERY_S)
        taken.append(((int(told.read_text()) - before[0]) * 1e-9 / requests, whole_s / requests))
    return taken


def main(
    rounds: Annotated[int, typer.Option(help="Rounds.", min=1)] = 10,
    requests: Annotated[int, typer.Option(help="Requests per round.", min=1)] = 200,
    *,
    is_saved: Save = False,
) -> None:
    """The share of the plugin's metrics in the CPU that a stock proxy spends on a request."""
    specs = [instant(name) for name in ("small", "medium", "large")]
    with ExitStack() as stack:
        directory, home, handles = stack.enter_context(world(specs))
        files = directory / "files"
        files.mkdir()
        settings = document(handles, CALLBACKS["plugin"])
        settings["litellm_settings"] = {"callbacks": ["timed_callback.callback"]}
        (directory / "timed_callback.py").write_text(TIMED, encoding="utf-8")
        environment = {embedded.DIRECTORY_VARIABLE: str(home), "PROMETHEUS_MULTIPROC_DIR": str(files)}
        proxy = stack.enter_context(MeasuredProxy(settings, directory, environment=environment))
        sender = Sender(stack.enter_context(httpx.Client(timeout=30)), stream=True)
        taken = measure(proxy, directory / TOLD, sender, rounds, requests)
    us = Spread.of(metrics_s * US_PER_S for metrics_s, _ in taken)
    percent = Spread.of(100 * metrics_s / whole_s for metrics_s, whole_s in taken)
    whole_ms = statistics.median(whole_s for _, whole_s in taken) * 1e3
    print(f"metrics: {us.text(0, ' µs')} of CPU per request, {percent.text(2, ' %')} of the proxy's {whole_ms:.1f} ms")
    print(f"{rounds} rounds of {requests} streamed requests one after another, one worker, metrics in files")
    aims = [Aim.at_most(BAR_PERCENT, "metrics take of a request's CPU", percent.value, 2, " %")]
    conclude({"us": us, "percent": percent}, aims, is_saved=is_saved)


if __name__ == "__main__":
    typer.run(main)
