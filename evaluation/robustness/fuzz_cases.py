"""Random requests for the fuzz study: sensible and absurd values in every place where an SLO can be stated.

About half of the requests should be valid, so that both right outcomes stay common. Values are numbers of any size,
texts, lists, objects and odd cases such as NaN, a lone surrogate or 300 nested lists. A header carries only what HTTP
allows. The same seed gives the same requests.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from slo_router.contract.model import CATEGORIES

MANAGED, ALIAS = "smart", "gpt-smart"
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


class Case(NamedTuple):
    """One request. `key` holds the virtual key's `metadata` and `team_metadata`."""

    path: str
    headers: tuple[tuple[str, bytes], ...]
    body: Mapping[str, object]
    key: Mapping[str, object]


def cases(count: int, seed: int, *, keys: bool = True) -> Iterator[Case]:
    """Random requests, the same for the same seed. Without `keys`, key and team have no metadata."""
    rng = random.Random(seed)
    in_body = (_metadata_slo, _metadata_slo, _user_slo, _user_slo, _odd_metadata, _other_metadata)
    places = (*in_body, *((_key_metadata, _key_metadata) if keys else ()))
    for _ in range(count):
        path = rng.choice(list(ROUTES))
        model = rng.choice([MANAGED, MANAGED, ALIAS])
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
    return rng.random() if rng.random() < 0.7 else _value(rng, 2)  # every field accepts values up to 1


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
