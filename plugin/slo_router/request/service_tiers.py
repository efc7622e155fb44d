"""Service tiers of providers, such as `flex` and `priority`: another price for a later or sooner answer.

A deployment may set its own `service_tier`. Then it has that tier's prices and its own learned latency. A request that
names a tier is sent with that tier, whatever its deployment sets. So it may only go to deployments that have the tier:
they set it, or their model has a price for it. `auto`, `default` and `standard` leave the choice to the provider: such
a request goes to deployments without a tier. Where no deployment has the tier, all stay and the provider may refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slo_router.contract.model import Facts

LEFT_TO_THE_PROVIDER = frozenset({"auto", "default", "standard", "standard_only"})


def in_tier(
    request: Mapping[str, object], candidates: Sequence[Facts]
) -> tuple[Sequence[Facts], frozenset[str] | None]:
    """The candidates at the prices of the request's tier, and the ids of those that have it; `None`: all may answer."""
    named = request.get("service_tier")
    if not isinstance(named, str):
        return candidates, None
    tier = named.lower()
    if tier in LEFT_TO_THE_PROVIDER:
        having = frozenset(one.deployment_id for one in candidates if one.service_tier in {None, tier})
    else:
        candidates = [one.in_tiers.get(tier, one) for one in candidates]
        having = frozenset(one.deployment_id for one in candidates if one.service_tier == tier)
    return candidates, having if 0 < len(having) < len(candidates) else None
