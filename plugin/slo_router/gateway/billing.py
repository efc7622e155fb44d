"""Asks LiteLLM what it bills for a deployment, and derives the prices that decisions use.

LiteLLM's rules are not copied, for they differ by provider and version: which listing a name leads to, what a cached
token without a price costs, at which prompt length a step begins, how discounts and margins add up. But between two
steps every bill is a sum of tokens × prices. So LiteLLM's calculator bills a few made-up answers on each step, and the
prices are the differences of these bills. The bill of an answer with tokens of every kind shows where a step begins.
All this is done in the background, when a deployment is read; a decision never asks.

If LiteLLM cannot bill a deployment, or is not asked (`_is_asked`), the prices of the YAML and the price map count.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import litellm
from litellm.litellm_core_utils.litellm_logging import Logging
from litellm.types.utils import CacheCreationTokenDetails, CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper

from slo_router.contract.model import EMPTY, Facts, Tier
from slo_router.contract.prices import ANSWER_KINDS, PROMPT_KINDS
from slo_router.gateway.router import Deployment

log = logging.getLogger("slo_router")

# For these providers LiteLLM would ask a server for a model's facts, or a user to log in.
UNASKED = frozenset({"ollama", "ollama_chat", "huggingface", "lemonade", "gigachat", "github_copilot", "chatgpt"})

BOUNDS = (32_000, 100_000, 128_000, 200_000, 256_000, 272_000, 512_000)  # of the steps in LiteLLM's price map
LAST_S = 600.0
_TOKENS = 1_000  # by so many two made-up answers differ
_PROMPT = 2 * _TOKENS  # a made-up prompt is so much longer than the beginning of its step
_KINDS = ("cached", *PROMPT_KINDS, *ANSWER_KINDS)
_NEAR_USD = 1e-9
_NOISE_USD = 1e-12  # in a difference of two bills
_DIGITS = 12

Ask = Callable[..., float | None]


class Step(NamedTuple):
    """The prices of prompts longer than `tier.above_tokens`, and what a request costs beside its tokens."""

    tier: Tier
    fixed_usd: float


class Bill(NamedTuple):
    """What LiteLLM said of a deployment, and when (seconds of the clock of `Bills`)."""

    at_s: float
    entry: Deployment
    read: Facts
    billed: Facts


class Bills:
    """The deployments' prices, as LiteLLM last gave them; asked for again after a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Bill] = {}  # by deployment id

    @property
    def are_old(self) -> bool:
        """Whether LiteLLM's prices may have changed: it loads its price map anew, and some depend on the hour."""
        return any(self._is_old(bill) for bill in self._known.values())

    def keep(self, names: Container[str]) -> None:
        """Forgets the deployments that are not among `names`."""
        self._known = {name: bill for name, bill in self._known.items() if name in names}

    def facts(self, entry: Deployment, read: Facts) -> Generator[None, None, Facts]:
        """What was `read` of this entry, with LiteLLM's prices. Pauses after each question. Do not change `entry`."""
        known = self._known.get(read.deployment_id)
        if known is None or self._is_old(known) or (known.entry, known.read) != (entry, read):
            known = Bill(self._clock(), entry, read, (yield from _in_every_tier(entry, read)))
            self._known[read.deployment_id] = known
        return known.billed

    def _is_old(self, bill: Bill) -> bool:
        return self._clock() - bill.at_s > LAST_S


def _in_every_tier(entry: Deployment, read: Facts) -> Generator[None, None, Facts]:
    params, in_tiers = entry["litellm_params"], dict[str, Facts]()
    for tier, facts in read.in_tiers.items():
        asked = {**params, "service_tier": tier} if isinstance(params, Mapping) else params
        in_tiers[tier] = yield from as_billed({**entry, "litellm_params": asked}, facts)
    billed = yield from as_billed(entry, read)
    return replace(billed, in_tiers=in_tiers)


def as_billed(entry: Deployment, facts: Facts) -> Generator[None, None, Facts]:
    """`facts`, as read of this entry, with LiteLLM's prices. Pauses after each question, half a millisecond."""
    params, info = entry.get("litellm_params"), entry.get("model_info")
    if not isinstance(params, Mapping) or not isinstance(info, Mapping) or not _is_asked(params, facts):
        return facts
    try:
        ask = _calculator(params, info)
        steps = yield from _steps(ask, sorted({*BOUNDS, *(tier.above_tokens for tier in facts.tiers)}))
    except Exception as error:  # noqa: BLE001  # whatever LiteLLM does
        log.warning("%s: LiteLLM could not be asked for its prices: %s", facts.name, type(error).__name__)
        return facts
    if not steps or not _is_known(facts, steps[0].tier):
        return facts
    base, fixed_usd = steps[0]
    return replace(
        facts,
        input_usd_per_token=base.input_usd,
        output_usd_per_token=base.output_usd,
        cached_usd_per_token=base.cached_usd,
        extra_usd=base.extra_usd,
        tiers=tuple(step.tier for step in steps[1:]),
        usd_per_request=fixed_usd or None,
    )


def _is_asked(params: Mapping[str, object], facts: Facts) -> bool:
    provider = str(params.get("custom_llm_provider") or params.get("model")).partition("/")[0]
    return facts.usd_per_second is None and provider not in UNASKED


def _is_known(facts: Facts, base: Tier) -> bool:
    """Whether LiteLLM has a price for input and output. It bills 0 where it has none; then `facts` must say 0, too."""
    read = ((facts.input_usd_per_token, base.input_usd), (facts.output_usd_per_token, base.output_usd))
    return all(usd > 0 or known == 0 for known, usd in read)


def _calculator(params: Mapping[str, Any], info: Mapping[str, Any]) -> Ask:
    """LiteLLM's own cost calculator, for the requests of one deployment."""
    model, provider, _, _ = litellm.get_llm_provider(
        model=params["model"],
        custom_llm_provider=params.get("custom_llm_provider"),
        api_base=params.get("api_base"),
        api_key=params.get("api_key"),  # LiteLLM looks for one where it is `None`
    )
    its = Logging(
        model=model,
        messages=[],
        stream=False,
        call_type="acompletion",
        start_time=datetime.now(UTC),
        litellm_call_id="",
        function_id="",
    )
    asked = {"service_tier": params["service_tier"]} if params.get("service_tier") else {}
    its.update_environment_variables(
        model=model,
        user=None,
        optional_params=asked,
        litellm_params={**params, "metadata": {"model_info": info}},
        custom_llm_provider=provider,
    )

    def ask(prompt_tokens: int, output_tokens: int, **kinds: int) -> float | None:
        answer = litellm.ModelResponse(model=model, usage=_usage(prompt_tokens, output_tokens, kinds))
        usd = its._response_cost_calculator(result=answer)  # noqa: SLF001  # its one name on all versions
        return float(usd) if usd else None  # LiteLLM bills 0 where it has no price

    return ask


def _steps(ask: Ask, bounds: Sequence[int]) -> Generator[None, None, list[Step]]:
    """The prices on each step of the prompt's length; none where LiteLLM has no price."""
    steps: list[Step] = []
    for bound in (0, *bounds):
        prompt = bound + _PROMPT
        yield
        if steps and _holds(ask, prompt, steps[-1]):
            continue
        step = yield from _step(ask, prompt)
        if step is None:
            return steps
        begins = bound if not steps or _holds(ask, bound, steps[-1]) else bound - 1  # some steps begin at their bound
        steps.append(step._replace(tier=step.tier._replace(above_tokens=begins)))
    return steps


def _step(ask: Ask, prompt: int) -> Generator[None, None, Step | None]:
    """The prices of prompts of about this length."""
    plain = ask(prompt, _PROMPT)
    yield
    longer = ask(prompt + _TOKENS, _PROMPT)
    yield
    more = ask(prompt, _PROMPT + _TOKENS)
    if plain is None or longer is None or more is None:
        return None
    input_usd, output_usd = _difference(longer, plain), _difference(more, plain)
    extra: dict[str, float] = {}
    for kind in _KINDS:
        yield
        usd = ask(prompt, _PROMPT, **{kind: _TOKENS})
        if usd is None:
            return None
        extra[kind] = _difference(usd, plain)
    cached_usd = _rounded(input_usd + extra.pop("cached"))
    fixed_usd = plain - prompt * input_usd - _PROMPT * output_usd
    kinds = {kind: usd for kind, usd in extra.items() if usd}
    tier = Tier(0, input_usd, output_usd, cached_usd, kinds or EMPTY)
    return Step(tier, fixed_usd if fixed_usd > _NOISE_USD else 0.0)


def _holds(ask: Ask, prompt: int, step: Step) -> bool:
    """Whether a prompt of this length, with something of every kind, is billed at these prices."""
    tier, counts = step.tier, {kind: number for number, kind in enumerate(_KINDS, 101)}
    usd = step.fixed_usd + prompt * tier.input_usd + _PROMPT * tier.output_usd
    usd += counts["cached"] * ((tier.cached_usd or 0.0) - tier.input_usd)
    usd += sum(extra_usd * counts[kind] for kind, extra_usd in tier.extra_usd.items())
    billed = ask(prompt, _PROMPT, **counts)
    return billed is not None and abs(billed - usd) < _NEAR_USD


def _difference(usd: float, plain_usd: float) -> float:
    """USD per token."""
    return _rounded((usd - plain_usd) / _TOKENS)


def _rounded(usd: float) -> float:
    return 0.0 if abs(usd) < _NOISE_USD / _TOKENS else float(f"{usd:.{_DIGITS}g}")


def _usage(prompt_tokens: int, output_tokens: int, kinds: Mapping[str, int]) -> litellm.Usage:
    written, written_1h = kinds.get("written", 0), kinds.get("written_1h", 0)
    writing: dict[str, Any] = {}
    if written or written_1h:
        writing["cache_creation_tokens"] = written + written_1h
        writing["cache_creation_token_details"] = CacheCreationTokenDetails(
            ephemeral_5m_input_tokens=written, ephemeral_1h_input_tokens=written_1h
        )
    return litellm.Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=output_tokens,
        total_tokens=prompt_tokens + output_tokens,
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=kinds.get("cached"),
            audio_tokens=kinds.get("audio"),
            image_tokens=kinds.get("image"),
            **writing,
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(
            reasoning_tokens=kinds.get("reasoning"),
            audio_tokens=kinds.get("answer_audio"),
            image_tokens=kinds.get("answer_image"),
        ),
    )
