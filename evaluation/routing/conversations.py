"""What it is worth that conversations stay where they are cached: cost and TTFT on two equal replicas.

    python -m evaluation.routing.conversations [--conversations 16] [--turns 6] [--no-marks]

Two emulated replicas with prefix caches serve the same conversations, behind one proxy after another, over real HTTP:
LiteLLM alone, LiteLLM with its own `prompt_caching` check, and this plugin without and with `stickiness`. Prompt tokens
that a replica has seen need no prefill and cost a tenth. Each turn marks its end with `cache_control`, which LiteLLM's
check needs. With `--no-marks` no turn does, like clients of OpenAI's models. Costs are computed from the cached tokens
that each usage reports. The study takes about three minutes.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import orjson
import typer
from httpx_sse import aconnect_sse
from rich.console import Console
from rich.table import Table

from evaluation.emulator import EndpointSpec, Handle, running_endpoints
from evaluation.shared.results import Save, save
from evaluation.shared.stock_proxy import StockProxy

GROUP = "smart"
REPLICAS = ("left", "right")
INPUT_USD, CACHED_USD, OUTPUT_USD = 2e-6, 2e-7, 8e-6  # per token
WORDS = 1_500  # in a conversation's first message: above LiteLLM's 1,024 tokens
MORE_WORDS = 60  # in each later message
BEGIN_WITHIN_S, THINK_S = 8.0, 1.5
SEED = 14
VOCABULARY = ("plan", "price", "queue", "model", "route", "token", "cache", "limit", "cost", "share", "prompt", "load")


class Turn(NamedTuple):
    """One request as its client saw it."""

    number: int  # in its conversation, from 0 on
    replica: str
    ttft_s: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int

    @property
    def usd(self) -> float:
        """The cost by the usage that the replica reported."""
        fresh = self.prompt_tokens - self.cached_tokens
        return fresh * INPUT_USD + self.cached_tokens * CACHED_USD + self.completion_tokens * OUTPUT_USD


def specs() -> list[EndpointSpec]:
    """The replicas. The shortest prompt takes 0.15 s of prefill if it is new to a replica."""
    return [
        EndpointSpec(
            name=name, ttft_ms=20, prefill_us_per_token=100, tpot_ms=5, slots=16, cache_tokens=500_000, output_tokens=40
        )
        for name in REPLICAS
    ]


def document(handles: list[Handle], policy: Mapping[str, Any]) -> dict[str, Any]:
    """The proxy's whole YAML."""
    models = [
        {
            "model_name": GROUP,
            "litellm_params": {
                "model": "openai/replica",
                "api_base": handle.api_base,
                "api_key": "none",
                "input_cost_per_token": INPUT_USD,
                "output_cost_per_token": OUTPUT_USD,
                "cache_read_input_token_cost": CACHED_USD,
            },
            "model_info": {"id": f"{handle.name}-1"},
        }
        for handle in handles
    ]
    return {"model_list": models, "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"}, **policy}


def ours(*, stickiness: bool) -> dict[str, Any]:
    """This plugin's part of the YAML."""
    return {
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {"slo_router": {"groups": {GROUP: {"stickiness": stickiness, "min_quality": 0}}}},
    }


POLICIES: Mapping[str, Mapping[str, Any]] = {
    "LiteLLM (simple-shuffle)": {},
    "LiteLLM, prompt_caching check": {"router_settings": {"optional_pre_call_checks": ["prompt_caching"]}},
    "slo-router, no stickiness": ours(stickiness=False),
    "slo-router, stickiness": ours(stickiness=True),
}


def said(rng: random.Random, words: int, *, marks: bool) -> dict[str, Any]:
    """A user's message. The mark at its end asks the provider to cache everything before it."""
    part: dict[str, Any] = {"type": "text", "text": " ".join(rng.choices(VOCABULARY, k=words))}
    if marks:
        part["cache_control"] = {"type": "ephemeral"}
    return {"role": "user", "content": [part]}


async def ask(client: httpx.AsyncClient, number: int, history: list[dict[str, Any]]) -> tuple[Turn, str]:
    """Sends one turn. Returns its figures and the answer's text."""
    body = {"model": GROUP, "messages": history, "stream": True, "stream_options": {"include_usage": True}}
    text, first_s = "", None
    usage: dict[str, Any] = {}
    begun_s = time.perf_counter()
    async with aconnect_sse(client, "POST", "/v1/chat/completions", json=body) as events:
        events.response.raise_for_status()
        replica = events.response.headers["x-litellm-model-id"]
        async for event in events.aiter_sse():
            chunk = {} if event.data == "[DONE]" else orjson.loads(event.data)
            piece = "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))
            if piece and first_s is None:
                first_s = time.perf_counter()
            text, usage = text + piece, chunk.get("usage") or usage
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    ttft_s = (first_s or time.perf_counter()) - begun_s
    return Turn(number, replica, ttft_s, usage["prompt_tokens"], cached, usage["completion_tokens"]), text


async def converse(client: httpx.AsyncClient, seed: str, turns: int, *, marks: bool) -> list[Turn]:
    """Plays one conversation, whose client thinks between two turns."""
    rng = random.Random(seed)
    history = [said(rng, WORDS, marks=marks)]
    taken: list[Turn] = []
    await asyncio.sleep(rng.uniform(0, BEGIN_WITHIN_S))
    for number in range(turns):
        turn, answer = await ask(client, number, history)
        taken.append(turn)
        history += [{"role": "assistant", "content": answer}, said(rng, MORE_WORDS, marks=marks)]
        await asyncio.sleep(rng.expovariate(1 / THINK_S))
    return taken


async def traffic(proxy: StockProxy, conversations: int, turns: int, *, marks: bool) -> list[list[Turn]]:
    """Plays all conversations of a run. Other requests go first, because a proxy's first requests are slower."""
    async with httpx.AsyncClient(base_url=proxy.url, headers=proxy.auth, timeout=60, trust_env=False) as client:
        for number in range(4):
            await ask(client, 0, [said(random.Random(f"warm {number}"), MORE_WORDS, marks=marks)])
        return await asyncio.gather(
            *(converse(client, f"{SEED}:{one}", turns, marks=marks) for one in range(conversations))
        )


def run(policy: Mapping[str, Any], conversations: int, turns: int, *, marks: bool) -> list[list[Turn]]:
    """Plays the conversations under one policy, on new replicas behind a new proxy."""
    with (
        running_endpoints(specs()) as handles,
        tempfile.TemporaryDirectory() as directory,
        StockProxy(document(handles, policy), Path(directory)) as proxy,
    ):
        return asyncio.run(traffic(proxy, conversations, turns, marks=marks))


def figures(found: list[list[Turn]]) -> dict[str, float]:
    """The figures of one policy. TTFT is from the second turn on."""
    turns = [turn for conversation in found for turn in conversation]
    later_s = sorted(turn.ttft_s for turn in turns if turn.number)
    stayed = [before.replica == turn.replica for one in found for before, turn in pairwise(one)]
    cached = sum(turn.cached_tokens for turn in turns) / sum(turn.prompt_tokens for turn in turns)
    return {
        "usd": sum(turn.usd for turn in turns) / len(found),
        "cached_percent": 100 * cached,
        "stayed_percent": 100 * statistics.mean(stayed),
        "ttft_p50_s": statistics.median(later_s),
        "ttft_p95_s": later_s[int(0.95 * len(later_s))],
    }


def main(
    *,
    conversations: Annotated[int, typer.Option(help="At the same time.", min=1)] = 16,
    turns: Annotated[int, typer.Option(help="Of each.", min=2)] = 6,
    marks: Annotated[bool, typer.Option(help="Whether turns are marked with `cache_control`.")] = True,
    is_saved: Save = False,
) -> None:
    """Cost and TTFT of the same conversations by each policy."""
    columns = ("USD a conversation", "read from cache", "stayed", "TTFT p50 s", "TTFT p95 s")
    table = Table("policy", *columns, title=f"{conversations} conversations of {turns} turns on two replicas")
    found: dict[str, dict[str, float]] = {}
    for name, policy in POLICIES.items():
        found[name] = figures(run(policy, conversations, turns, marks=marks))
        usd, cached, stayed, *ttft_s = found[name].values()
        table.add_row(name, f"{usd:.5f}", f"{cached:.0f}%", f"{stayed:.0f}%", *(f"{one:.3f}" for one in ttft_s))
    Console(width=130).print(table)
    if is_saved:
        shown = {"conversations": conversations, "turns": turns, "policies": found}
        save(shown, form="" if marks else "no marks")


if __name__ == "__main__":
    typer.run(main)
