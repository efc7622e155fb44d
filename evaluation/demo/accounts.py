"""What the requests cost, what they would have cost elsewhere, and whether their SLOs were met. Pure.

The counterfactuals price the same prompt and completion tokens at another deployment's prices. They assume that another
model would have answered at the same length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from evaluation.demo.client import Answer
from slo_bench.summary.spreads import Spread, spread
from slo_router.contract.model import Facts
from slo_router.contract.prices import cost_usd
from slo_router.contract.record import RequestRecord

MS_PER_S = 1_000.0
Json = dict[str, object]


class Served(NamedTuple):
    """One request as its client saw it, and its record in Redis: `None` if the request failed or was not logged."""

    answer: Answer
    record: RequestRecord | None


@dataclass(frozen=True, slots=True)
class Account:
    """Sums over some requests, in USD. Failed requests are left out of the cost. `None`: a price is unknown."""

    requests: int
    met: int
    ttft: Spread | None  # of streamed requests, as the client measured it
    cost_usd: float | None
    best_usd: float | None  # everything to the deployment of the highest quality
    even_usd: float | None  # spread evenly over all deployments

    @property
    def saved(self) -> float | None:
        """The share of `best_usd` that was not spent; negative if more was spent."""
        return None if self.cost_usd is None or not self.best_usd else 1 - self.cost_usd / self.best_usd


def join(answers: Iterable[Answer], records: Iterable[RequestRecord]) -> list[Served]:
    """Each answer with the record that has the same response id."""
    by_id = {record.request_id: record for record in records}
    return [Served(answer, by_id.get(answer.response_id or "")) for answer in answers]


def account(served: Sequence[Served], deployments: Sequence[Facts], best: Facts) -> Account:
    """The sums over these requests. `deployments` are all deployments of the group."""
    records = [record for _, record in served if record is not None]
    by_deployment = [_total(price_usd(record, facts) for record in records) for facts in deployments]
    return Account(
        requests=len(served),
        met=sum(map(met, served)),
        ttft=spread(answer.ttft_s for answer, _ in served),
        cost_usd=_total(record.cost_usd for record in records),
        best_usd=by_deployment[deployments.index(best)],
        even_usd=None if None in by_deployment else fmean(usd for usd in by_deployment if usd is not None),
    )


def price_usd(record: RequestRecord, facts: Facts) -> float | None:
    """The request's tokens at a deployment's prices; `None` if a price or a token count is unknown."""
    prompt, completion = record.prompt_tokens, record.completion_tokens
    return None if prompt is None or completion is None else cost_usd(facts, prompt, completion)


def met(served: Served) -> bool:
    """Whether the SLO was kept: TTFT as the client measured it, the rest by the record. A failed request kept none."""
    answer, record = served
    if answer.error is not None or record is None or record.slo_met is False:
        return False
    limit_ms = record.slo.ttft_ms
    return limit_ms is None or answer.ttft_s is None or answer.ttft_s * MS_PER_S <= limit_ms


def below_floor(served: Sequence[Served], deployments: Sequence[Facts]) -> float:
    """The expected number of requests that an even spread would send to too low a quality."""
    expected = 0.0
    for _, record in served:
        floor = None if record is None else record.slo.min_quality
        if record is not None and floor is not None:
            qualities = [facts.quality_for(record.category or "") for facts in deployments]
            expected += sum(quality is None or quality < floor for quality in qualities) / len(deployments)
    return expected


def figures(served: Sequence[Served], wants: Mapping[str, str], deployments: Sequence[Facts], best: Facts) -> Json:
    """For docs/evidence.md. `wants` is each key's SLO in words."""
    whole = account(served, deployments, best)
    by_key = {key: [one for one in served if one.answer.ask.case.key == key] for key in wants}
    rows = [(key, slo, account(by_key[key], deployments, best)) for key, slo in wants.items()]
    return {
        "keys": [
            {"key": key, "slo": slo}
            | {name: getattr(sums, name) for name in ("requests", "met", "cost_usd", "best_usd")}
            for key, slo, sums in [*rows, ("all", "", whole)]
        ],
        "even_usd": whole.even_usd,
        "below_floor": below_floor(served, deployments),
    }


def _total(values: Iterable[float | None]) -> float | None:
    found = list(values)
    return None if None in found else sum(value for value in found if value is not None)
