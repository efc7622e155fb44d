"""The router's own strategy, filled from Redis, for commands. It publishes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from slo_router.contract.model import Decision
from slo_router.contract.settings.config import Settings
from slo_router.errors import RequestSloError, SettingsError
from slo_router.operator.commands.measured import Measured, read_measured
from slo_router.operator.reporting.present import Seen
from slo_router.operator.reporting.tally import Tallies
from slo_router.request.slo import CATEGORY_HEADER, FIELDS, SloInputs
from slo_router.worker.snapshot import MetricsStore
from slo_router.worker.strategy import Strategy
from slo_router.worker.trace import Trace


def observe(settings: Settings, measured: Measured) -> Strategy:
    """The strategy of a worker that has just read `measured`."""
    strategy = Strategy(settings.plugin, MetricsStore(settings.plugin.key_prefix))
    strategy.know(settings.deployments)
    strategy.store.snapshot, strategy.feedback.sums = measured.snapshot, measured.fed
    strategy.comparisons.rows = measured.pairs
    strategy.absorb(measured.exports.values() if settings.plugin.live_measurements else ())
    return strategy


def seen_now(settings: Settings, measured: Measured, tallies: Tallies, now_s: float) -> Seen:
    """What a status is made of, as a worker sees it that has just read `measured`; `now_s` is Unix seconds."""
    observed = observe(settings, measured)
    confidences = {name: group.quality_confidence for name, group in settings.plugin.groups.items()}
    return Seen(
        measured.snapshot, observed.live.states, tallies, now_s, observed.judged, confidences, observed.worths.known
    )


async def decide_now(
    settings: Settings, group: str | None, request: Mapping[str, object], slo: Sequence[str], category: str | None
) -> Decision:
    """The decision on a request that is not sent. `slo` has texts such as `ttft_ms=300`.

    Raises SettingsError for a wrong value, or where there is no decision.
    """
    name = _group(settings, group)
    strategy = observe(settings, await read_measured(settings))
    trace = Trace("acompletion", time.time(), stream=True)
    headers = dict(_header(text) for text in slo) | ({} if category is None else {CATEGORY_HEADER: category})
    try:
        strategy.read_request(name, trace, SloInputs(headers=headers))
    except RequestSloError as error:
        raise SettingsError(str(error)) from error
    pool = [one.facts.deployment_id for one in settings.deployments if one.group == name]
    strategy.choose(name, {field: value for field, value in request.items() if value is not None}, pool, trace)
    if trace.decision is None:
        raise SettingsError(f"{name}: {trace.note}")
    return trace.decision


def _group(settings: Settings, group: str | None) -> str:
    known = list(settings.plugin.groups)
    if group is None and len(known) == 1:
        return known[0]
    if group not in known:
        raise SettingsError(f"group: {group!r}, expected one of {', '.join(known)}")
    return group


def _header(text: str) -> tuple[str, str]:
    """`ttft_ms=300` as a request header: its name and value."""
    name, _, value = text.partition("=")
    header = next((field.header for field in FIELDS if field.name == name.strip()), None)
    if header is None or not value:
        raise SettingsError(f"slo: {text!r}, expected FIELD=NUMBER with one of {', '.join(one.name for one in FIELDS)}")
    return header, value
