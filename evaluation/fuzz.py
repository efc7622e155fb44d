"""Random header, body and key metadata values against the real proxy: always a 400 that names the field, or an answer.

    python -m evaluation.fuzz [--requests 10000] [--seed 0]

Each request carries a few values, sensible or absurd, in the places where an SLO can be said, on each of the routes.
Two outcomes are right: HTTP 400 whose message names a field that the request carried, and HTTP 200 with an
`x-slo-decision` that the plugin did not have to leave to LiteLLM. Anything else is asked again of a group that the
plugin does not manage: where LiteLLM refuses the same request there with the same status, it is LiteLLM's own answer
and is counted apart; else it is a failure and is printed with its input.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

import httpx
import typer

from evaluation.endpoints import Handle, instant, running_endpoints
from evaluation.stock_proxy import StockProxy
from slo_router.domain import CATEGORIES

CONCURRENCY = 8
MANAGED, UNMANAGED = "smart", "plain"
ASK = "Summarize this in one sentence: the cat sat on the mat."
MESSAGES = [{"role": "user", "content": ASK}]
ROUTES: Mapping[str, Mapping[str, object]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": ASK},
    "/v1/responses": {"input": ASK},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 40},
}
FIELDS = ("ttft_ms", "tpot_ms", "e2e_ms", "cost_per_1k", "min_quality")
HEADERS = (*(f"x-slo-{name.replace('_', '-')}" for name in FIELDS), "x-slo-category")
NUMBERS = (0, 1, -1, 0.5, 100, 1e3, 1e-9, 1e99, 5e-324, 2**63, 10**30, -0.0, float("nan"), float("inf"), -float("inf"))
WORDS = (
    "", " ", "0", "100", "0.7", "1e3", "1e99", "-5", "+5", "NaN", "inf", "-Infinity", "0x10", "1_000", "1,5", "5ms",
    "null", "true", "[]", '{"min": 1}', "ner", "Reasoning", "gardening", "٣", "½", "１００", "naïve 🐈", "\u2028",
    "\ud800", "a\tb", "\x7f", "\x00", "\x1b[31m", "%00", "../..", "${jndi:x}", "9" * 400, "x" * 5_000, ", ",
)  # fmt: skip
AUTHENTICATION = '''
import base64
import json

from litellm.proxy._types import UserAPIKeyAuth


async def authenticate(request, api_key):
    """A key says itself what metadata it and its team have."""
    said = json.loads(base64.urlsafe_b64decode(api_key.removeprefix("sk-")))
    return UserAPIKeyAuth(api_key="sk-fuzz", **said)
'''
_REFUSAL = re.compile(
    r"(x-slo-[a-z0-9-]+|metadata\.slo|user_slo|key metadata|team metadata).{0,300}is not valid, expected"
)


class Case(NamedTuple):
    """One request. `key` is what the virtual key is: `metadata` and `team_metadata`."""

    path: str
    headers: tuple[tuple[str, bytes], ...]
    body: Mapping[str, object]
    key: Mapping[str, object]


@dataclass
class Report:
    """How many requests ended how, and each distinct failure with the first input that led to it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    litellms_own: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Case] = field(default_factory=dict)


def cases(count: int, seed: int, *, keys: bool = True) -> Iterator[Case]:
    """Random requests, the same for the same seed. Without `keys`, key and team have no metadata."""
    rng = random.Random(seed)
    in_body = (_metadata_slo, _metadata_slo, _user_slo, _user_slo, _odd_metadata, _other_metadata)
    places = (*in_body, *((_key_metadata, _key_metadata) if keys else ()))
    for _ in range(count):
        path = rng.choice(list(ROUTES))
        model = rng.choice([MANAGED, MANAGED, "gpt-smart"])
        body: dict[str, object] = {"model": model, **ROUTES[path], "stream": rng.random() < 0.2}
        key: dict[str, object] = {}
        headers = [(rng.choice(HEADERS), _header_value(rng)) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))]
        for place in rng.sample(places, rng.choice([0, 1, 1, 2])):
            (body if place in in_body else key).update(place(rng))
        yield Case(path, tuple(headers), body, key)


def _value(rng: random.Random, depth: int = 0) -> object:
    kind = rng.randrange(8 if depth < 3 else 6)
    if kind == 6:
        return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {rng.choice((*FIELDS, "min", "max", *WORDS)): _value(rng, depth + 1) for _ in range(rng.randrange(4))}
    if kind == 5:
        return rng.choice([None, True, False, [], {}, _nested(rng.choice([5, 100, 300]))])
    if kind == 4:
        return rng.choice(WORDS)
    return rng.choice(NUMBERS) if kind < 2 else rng.choice([rng.random(), rng.uniform(0, 5_000), rng.randrange(5_000)])


def _plausible(rng: random.Random) -> object:
    return rng.random() if rng.random() < 0.7 else _value(rng, 2)  # up to 1 every field takes


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def _header_value(rng: random.Random) -> bytes:
    sensible = [repr(rng.random()), repr(1 - rng.random()), repr(rng.randrange(1, 2_000)), rng.choice(CATEGORIES)]
    text = rng.choice([*sensible, repr(rng.choice(NUMBERS)), rng.choice(WORDS)])
    raw = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        raw = bytes(rng.choice([9, *range(32, 127), *range(128, 256)]) for _ in range(rng.randrange(20)))
    return bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127).strip()  # what HTTP allows


def _wishes(rng: random.Random, names: Iterable[str]) -> object:
    if rng.random() < 0.2:
        return _value(rng)
    return {name: _plausible(rng) for name in names if rng.random() < 0.4} | (
        {rng.choice(WORDS): _value(rng)} if rng.random() < 0.1 else {}
    )


def _metadata_slo(rng: random.Random) -> dict[str, object]:
    return {"metadata": {"slo": _wishes(rng, FIELDS), "user_id": "someone"}}


def _user_slo(rng: random.Random) -> dict[str, object]:
    return {"user_slo": _wishes(rng, ("maxLatencyMs", "maxCostPer1k"))}


def _odd_metadata(rng: random.Random) -> dict[str, object]:
    return {rng.choice(["metadata", "metadata", "litellm_metadata"]): _value(rng)}


def _other_metadata(rng: random.Random) -> dict[str, object]:
    where = rng.choice(["metadata", "litellm_metadata"])
    return {where: {rng.choice(["slo_router", "tags", "user_id", "spend_logs_metadata", "note"]): _value(rng)}}


def _key_metadata(rng: random.Random) -> dict[str, object]:
    limits = {name: {end: _plausible(rng) for end in ("min", "max") if rng.random() < 0.5} for name in FIELDS}
    some = {name: limit for name, limit in limits.items() if rng.random() < 0.3}
    said = {"slo": _wishes(rng, FIELDS), "slo_limits": some if rng.random() < 0.8 else _value(rng)}
    name = rng.choice(["slo", "slo_limits"])
    return {rng.choice(["metadata", "team_metadata"]): {name: said[name]}}


def bearer(key: Mapping[str, object]) -> str:
    """The virtual key that says this of itself; see AUTHENTICATION."""
    return "sk-" + base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


async def fuzz(url: str, requests: Iterable[Case], authorization: Callable[[Case], str]) -> Report:
    """Sends all requests to the proxy at `url`, a few at a time, and sorts their outcomes."""
    report, waiting = Report(), iter(requests)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def worker() -> None:
            for case in waiting:
                await _sort(client, case, authorization, report)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(worker())
    return report


async def _sort(client: httpx.AsyncClient, case: Case, authorization: Callable[[Case], str], report: Report) -> None:
    try:
        answer = await _send(client, case, authorization(case))
    except httpx.HTTPError as error:  # the proxy hangs or is gone
        report.outcomes["FAILED"] += 1
        report.failures.setdefault(f"no answer: {type(error).__name__}", case)
        return
    reason = answer.headers.get("x-slo-reason", "")
    decision = answer.headers.get("x-slo-decision")
    if answer.status_code == httpx.codes.OK and decision is not None and "failed" not in reason:
        report.outcomes[f"200, {decision}"] += 1
    elif answer.status_code == httpx.codes.BAD_REQUEST and names_a_field(answer.text, case):
        report.outcomes["400 that names the field"] += 1
    else:
        control = await _send(client, case._replace(body={**case.body, "model": UNMANAGED}), authorization(case))
        if answer.is_error and control.status_code == answer.status_code:
            report.outcomes["LiteLLM's own refusal, the same without the plugin"] += 1
            report.litellms_own[f"{answer.status_code} {_gist(answer)}"] += 1
        else:
            report.outcomes["FAILED"] += 1
            what = f"{answer.status_code} {decision} {reason} {_gist(answer) if answer.is_error else ''}"
            report.failures.setdefault(f"{what} (without the plugin {control.status_code})", case)


async def _send(client: httpx.AsyncClient, case: Case, key: str) -> httpx.Response:
    fixed = [("authorization", f"Bearer {key}".encode()), ("content-type", b"application/json")]
    headers = [(name.encode(), value) for name, value in (*fixed, *case.headers)]
    return await client.post(case.path, content=json.dumps(case.body).encode(), headers=headers)


def names_a_field(text: str, case: Case) -> bool:
    """Whether a refusal names a place that this request used."""
    found = _REFUSAL.search(text)
    if found is None:
        return False
    used = {name for name, _ in case.headers} | ({"user_slo"} if "user_slo" in case.body else set())
    used |= {"metadata.slo"} if "metadata" in case.body else set()
    used |= {"key metadata"} if "metadata" in case.key else set()
    used |= {"team metadata"} if "team_metadata" in case.key else set()
    return found[1] in used


def _gist(answer: httpx.Response) -> str:
    said = re.search(r'"message": ?"(.*?)"', answer.text)
    text = re.sub(r"\d+", "#", said[1] if said else answer.text)
    return re.sub(r"got an? \w+", "got …", text)[:120].replace("\n", " ")


def document(handles: Iterable[Handle]) -> dict[str, object]:
    """A managed and an unmanaged group on the same endpoints; keys that say themselves what they are."""
    return {
        "model_list": [
            {
                "model_name": group,
                "litellm_params": {
                    "model": f"openai/{handle.name}",
                    "api_base": handle.api_base,
                    "api_key": "none",
                    "input_cost_per_token": 1e-7,
                    "output_cost_per_token": 2e-7,
                },
                "model_info": {"id": f"{group}-{handle.name}", "slo_router": {"quality": 0.7}},
            }
            for group in (MANAGED, UNMANAGED)
            for handle in handles
        ],
        "litellm_settings": {"callbacks": ["slo_router.proxy.callback"]},
        "callback_settings": {"slo_router": {"groups": {MANAGED: {"min_quality": 0.5}}}},
        "router_settings": {"disable_cooldowns": True, "model_group_alias": {"gpt-smart": MANAGED}},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY", "custom_auth": "fuzz_auth.authenticate"},
    }


def print_report(report: Report) -> None:
    """Counts, what LiteLLM refused by itself, and the failures."""
    for outcome, count in report.outcomes.most_common():
        print(f"{count:7,}  {outcome}")
    for gist, count in report.litellms_own.most_common():
        print(f"         LiteLLM's own, {count}: {gist}")
    for what, case in report.failures.items():
        print(f"FAILED {what}\n  {case!r:.600}")


def main(
    requests: Annotated[int, typer.Option(help="How many requests.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the random values.")] = 0,
) -> None:
    """Exit status 1 if any request ended in another way than a 400 that names the field or a routed answer."""
    with (
        tempfile.TemporaryDirectory(prefix="slo-") as name,
        running_endpoints([instant("small"), instant("large")]) as handles,
    ):
        directory = Path(name)
        (directory / "fuzz_auth.py").write_text(AUTHENTICATION, encoding="utf-8")
        with StockProxy(document(handles), directory, environment={"PYTHONFAULTHANDLER": "1"}) as proxy:
            report = asyncio.run(fuzz(proxy.url, cases(requests, seed), lambda case: bearer(case.key)))
            print_report(report)
            if report.failures:
                print(f"the end of the proxy's log:\n{proxy.log[-5_000:]}")
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    typer.run(main)
