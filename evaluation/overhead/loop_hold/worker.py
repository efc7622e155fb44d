"""One worker of a proxy, and how long each step on its event loop took.

    python -m evaluation.overhead.loop_hold.worker REDIS_URL LOAD_URL DEPLOYMENTS PEERS SECONDS DIRECTORY

The worker runs the plugin as LiteLLM would make it, with all background jobs, and sends some requests a second through
its hooks. A step is what the event loop runs before it may run something else. The study measures the CPU of a step's
thread, garbage collection included, so that a busy machine does not count. The worker prints JSON: for each owner of
steps the longest step in ms, the CPU ms per second, and the numbers of steps above 5 ms and of all steps.
"""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path

from evaluation.overhead.loop_hold.world import GROUP, PREFIX, model_list
from evaluation.shared.sample import messages_of_words

BAR_MS = 5.0
REQUESTS_PER_S = 20
OF_THOSE = "of those:"
OTHERS = "client"  # the tasks that stand for LiteLLM's own
MS_PER_S = 1e3


class Steps:
    """The CPU of every step while `is_on`, by the step's owner: see `whose`."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = collections.defaultdict(list)
        self.is_on = False
        steps, run = self, asyncio.Handle._run  # noqa: SLF001  # no other place sees every step

        def timed(handle: asyncio.Handle) -> None:
            if not steps.is_on:
                run(handle)
                return
            name, begun_s = whose(handle), time.thread_time()
            run(handle)
            steps.taken[name].append((time.thread_time() - begun_s) * MS_PER_S)

        gc.callbacks.append(self._collected)
        self._collecting_s = 0.0
        asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]  # noqa: SLF001

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_s = time.thread_time()
        elif self.is_on:
            taken_ms = (time.thread_time() - self._collecting_s) * MS_PER_S
            self.taken[f"{OF_THOSE} garbage, generation {info['generation']}"].append(taken_ms)

    def figures(self, took_s: float) -> dict[str, list[float]]:
        """By owner: the longest step in ms, ms per second, the number of steps beyond the bar, and of all steps."""
        return {
            name: [max(taken), sum(taken) / took_s, sum(one > BAR_MS for one in taken), len(taken)]
            for name, taken in self.taken.items()
            if name != OTHERS
        }


def whose(handle: asyncio.Handle) -> str:
    """The owner of a step: the name of its task or callback."""
    callback = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        name = owner.get_name()
        return name if not name.startswith("Task-") else getattr(owner.get_coro(), "__qualname__", name)
    return str(getattr(callback, "__qualname__", type(callback).__name__))


def section(url: str, directory: Path) -> dict[str, object]:
    """The plugin's configuration; its records go into `directory`."""
    group = {"slo": {"ttft_ms": 800, "cost_per_1k": 1.0}, "min_quality": 0.5, "stickiness": False}
    log = {"jsonl_path": str(directory / "records.jsonl")}
    return {"redis_url": url, "key_prefix": PREFIX, "groups": {GROUP: group}, "log": log}


def succeeded(number: int, name: str, arrived_s: float, metadata: object) -> dict[str, object]:
    """What LiteLLM tells its callbacks about a request that deployment `name` has just answered."""
    payload = {
        "id": f"request-{number}",
        "status": "success",
        "stream": True,
        "model": "m",
        "model_id": name,
        "model_group": GROUP,
        "startTime": arrived_s,
        "completionStartTime": arrived_s + 0.1,
        "endTime": time.time(),
        "prompt_tokens": 300,
        "completion_tokens": 40 + number % 50,
        "response_cost": 1e-4,
        "metadata": {"user_api_key_hash": f"key-{number % 100}"},
    }
    return {"litellm_params": {"metadata": metadata}, "standard_logging_object": payload}


async def load(ask: Callable[[int], Coroutine[None, None, None]], until_s: float) -> None:
    """Sends REQUESTS_PER_S requests a second until `until_s`, and waits for the last answer."""
    number = 0
    tasks = set()
    while time.monotonic() < until_s:
        number += 1
        task = asyncio.create_task(ask(number), name=OTHERS)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(1 / REQUESTS_PER_S)
    await asyncio.gather(*tasks)


async def serve(arguments: list[str]) -> dict[str, object]:
    """See the module."""
    url, load_url, deployments, peers, seconds, directory = arguments
    # LiteLLM reads its environment when it is imported
    import litellm  # noqa: PLC0415
    from litellm.proxy import proxy_server  # noqa: PLC0415
    from litellm.proxy._types import UserAPIKeyAuth  # noqa: PLC0415
    from litellm.router import Router  # noqa: PLC0415
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from slo_router.contract.settings.config import parse_settings  # noqa: PLC0415
    from slo_router.gateway.hooks import Plugin  # noqa: PLC0415

    entries = model_list(int(deployments), load_url)
    router = proxy_server.llm_router = Router(model_list=entries)
    document = {"model_list": entries, "callback_settings": {"slo_router": section(url, Path(directory))}}
    steps = Steps()
    made = Plugin(parse_settings(document, {}), CollectorRegistry())
    litellm.callbacks = [made]

    async def ask(number: int) -> None:
        messages = [{"role": "user", "content": f"{number}"}, *messages_of_words(200)]
        data: dict[str, object] = {"model": GROUP, "messages": messages, "metadata": {}, "stream": True}
        await made.async_pre_call_hook(UserAPIKeyAuth(), None, data, "acompletion")
        (chosen,) = await made.async_filter_deployments(GROUP, list(entries), messages, data)
        arrived_s, name = time.time(), chosen["model_info"]["id"]  # type: ignore[index]
        await made.async_pre_call_deployment_hook({**data, **chosen}, "acompletion")
        await asyncio.sleep(0.5)
        event = succeeded(number, name, arrived_s, data["metadata"])
        await made.async_log_success_event(event, None, None, None)

    while made.strategy.store.snapshot.read_at_s is None or not heard_all(made, int(peers)):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    warm = asyncio.create_task(load(ask, time.monotonic() + 3), name=OTHERS)
    await warm
    steps.is_on = True
    begun_s, cpu_s = time.monotonic(), time.thread_time()
    await asyncio.create_task(load(ask, begun_s + float(seconds)), name=OTHERS)
    steps.is_on = False
    took_s = time.monotonic() - begun_s
    del router
    return {
        "cpu_ms_per_s": (time.thread_time() - cpu_s) * MS_PER_S / took_s,
        "fail_open": made.picker.fail_open_count,
        "by": steps.figures(took_s),
    }


def heard_all(made: object, peers: int) -> bool:
    """Whether the worker has heard from all peers about every deployment."""
    states = made.strategy.live.states  # type: ignore[attr-defined]
    return bool(states) and all(state.others == peers for state in states.values())


if __name__ == "__main__":
    os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    found = asyncio.run(serve(sys.argv[1:]))
    print(json.dumps(found), flush=True)
    os._exit(0)  # does not wait for LiteLLM's threads
