"""Service tiers: what a provider charges more or less for, by how soon it answers (`flex`, `priority`).

A deployment with a `service_tier` of its own is a candidate with that tier's prices and its own learned latency. A
request that names a tier is sent with that word whatever its deployment says, so it may go to those alone that have the
tier: by their own word, or because the model has a price for it. `auto` and `default` leave it to the provider: they go
to deployments without one. Where nobody has the tier, the provider is left to say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slo_router.contract.model import Facts

LEFT_TO_THE_PROVIDER = frozenset({"auto", "default", "standard", "standard_only"})


def in_tier(
    request: Mapping[str, object], candidates: Sequence[Facts]
) -> tuple[Sequence[Facts], frozenset[str] | None]:
    """The candidates at the prices of the tier that a request names, and who has it; `None`: everybody may answer."""
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
