"""LiteLLM's discounts and margins on what it bills: `cost_discount_config` and `cost_margin_config`.

    bill × (1 − discount) × (1 + percentage) + fixed amount

The discount of a model is the one for its exact name, else for the matching pattern with the most letters, else for its
provider: `openai/gpt-4o`, `openai/gpt-4*`, `openai`. The margin is the provider's, else the one called `global`. The
proxy asks LiteLLM where it can (`gateway.billing`); the commands have only the YAML. A test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from slo_router.contract.model import EMPTY, NOTHING, Facts

NAMES = ("cost_discount_config", "cost_margin_config")
_GLOB = re.compile(r"[*?[]")
_NO_LETTER = re.compile(r"\[!?\]?[^\]]*\]|[*?]")
_AS_AZURE = ("azure", "openai")  # whose models at `azure_ai` are billed as Azure's
_PREFIX = {"azure": re.compile("^azure(_ai)?/(responses/)?"), "openai": re.compile("^openai/(responses/)?")}


class Markups(NamedTuple):
    """Discounts and margins as the YAML has them. A value that is no number changes nothing."""

    discounts: Mapping[str, object] = EMPTY
    margins: Mapping[str, object] = EMPTY

    def applied(
        self,
        facts: Facts,
        params: Mapping[str, object],
        info: Mapping[str, object],
        listed: Mapping[str, object],
    ) -> Facts:
        """The facts with the prices that are billed. Unknown prices stay unknown, and `gpu_usd_per_hour` unchanged."""
        if not self.discounts and not self.margins:
            return facts
        provider = _provider(params, listed)
        model = str(info.get("base_model") or params.get("base_model") or params["model"])
        percentage, fixed_usd = self._margin(provider)
        return _marked(facts, (1 - self._discount(provider, model)) * (1 + percentage), fixed_usd)

    def _discount(self, provider: str, model: str) -> float:
        bare = _PREFIX[provider].sub("", model) if provider in _PREFIX else model.removeprefix(f"{provider}/")
        own = {key.partition("/")[2]: key for key in self.discounts if key.startswith(f"{provider}/")}
        patterns = [one for one in own if _GLOB.search(one) and fnmatchcase(bare, one)]
        if bare in own and not _GLOB.search(bare):
            key = own[bare]
        elif patterns:
            key = own[max(patterns, key=lambda one: len(_NO_LETTER.sub("", one)))]
        else:
            key = provider
        return _number(self.discounts.get(key))

    def _margin(self, provider: str) -> tuple[float, float]:
        """The percentage as a share, and USD per request."""
        margin = self.margins.get(provider, self.margins.get("global"))
        if isinstance(margin, Mapping):
            return _number(margin.get("percentage")), _number(margin.get("fixed_amount"))
        return _number(margin), 0.0


def markups_of(document: Mapping[str, object]) -> Markups:
    """The discounts and margins of a whole proxy configuration."""
    settings = document.get("litellm_settings")
    found = settings if isinstance(settings, Mapping) else {}
    return Markups(*(_table(found.get(name)) for name in NAMES))


def _table(value: object) -> Mapping[str, object]:
    return {str(name): one for name, one in value.items()} if isinstance(value, Mapping) else EMPTY


def _provider(params: Mapping[str, object], listed: Mapping[str, object]) -> str:
    """The provider as LiteLLM's bill names it."""
    prefix, slash, _ = str(params["model"]).partition("/")
    known = str(listed.get("litellm_provider") or "")
    provider = str(params.get("custom_llm_provider") or (prefix if slash else known))
    if provider == "azure_ai" and known in _AS_AZURE:
        return "azure"
    family = re.match("vertex_ai(?!_beta)|bedrock", provider)  # the map has `vertex_ai-language-models`
    return provider if family is None else family[0]


def _marked(facts: Facts, factor: float, fixed_usd: float) -> Facts:
    def times(usd: float | None) -> float | None:
        return None if usd is None else usd * factor

    def extra(by_kind: Mapping[str, float]) -> Mapping[str, float]:
        return {kind: usd * factor for kind, usd in by_kind.items()} or EMPTY

    is_by_second = facts.usd_per_second is not None
    per_request_usd = (0.0 if is_by_second else facts.usd_per_request or 0.0) * factor + fixed_usd
    return replace(
        facts,
        input_usd_per_token=times(facts.input_usd_per_token),
        output_usd_per_token=times(facts.output_usd_per_token),
        cached_usd_per_token=times(facts.cached_usd_per_token),
        usd_per_second=times(facts.usd_per_second),
        usd_per_request=per_request_usd or None,
        extra_usd=extra(facts.extra_usd),
        tiers=tuple(
            tier._replace(
                input_usd=tier.input_usd * factor,
                output_usd=tier.output_usd * factor,
                cached_usd=times(tier.cached_usd),
                extra_usd=extra(tier.extra_usd),
            )
            for tier in facts.tiers
        ),
        in_tiers={name: _marked(one, factor, fixed_usd) for name, one in facts.in_tiers.items()} or NOTHING,
    )


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return 0.0
