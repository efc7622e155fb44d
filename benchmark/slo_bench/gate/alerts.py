"""Alerts: which figure got worse, by how much, and against which run. As JSON in Redis, and as one line for people.

{prefix}slo_bench:alerts    stream, field `alert` = JSON, the last `KEPT` alerts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from slo_bench.gate.entry import Kind, decoded
from slo_router.contract.keys import ALERTS_KEY
from slo_router.contract.redis.link import AsyncClient

KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Alert:
    """`figure` was `before` and is `after`; `low` and `high` bound the change with 95 %. Times are Unix seconds.

    These four are `None` for a deployment that is still held and can't be compared: the suite is new, or too few items
    are common.
    """

    at_s: float
    kind: Kind
    deployment: str
    model: str
    category: str
    figure: str
    n: int  # answers of a quality run, requests of a latency run
    before: float | None = None
    after: float | None = None
    low: float | None = None
    high: float | None = None
    baseline_at_s: float | None = None

    def line(self) -> str:
        """For a terminal or a log."""
        where = f"{self.deployment} {self.category}: {self.figure}"
        if self.before is None or self.after is None or self.low is None or self.high is None:
            return f"ALERT {where} is held: it had dropped, and there is no good run to compare this one with"
        return (
            f"ALERT {where} {self.before:.4g} → {self.after:.4g} "
            f"({self.after - self.before:+.4g}, 95 % {self.low:+.4g} to {self.high:+.4g}, n {self.n})"
        )


async def raise_alert(link: AsyncClient, prefix: str, alert: Alert) -> None:
    """Adds an alert to the stream. Raises redis.RedisError where it was not written."""
    text = msgspec.json.encode(alert).decode()
    await link.xadd(prefix + ALERTS_KEY, {"alert": text}, maxlen=KEPT, approximate=False)


async def latest_alerts(link: AsyncClient, prefix: str, count: int = KEPT) -> Sequence[Alert]:
    """The last `count` alerts, oldest first. Unreadable alerts are left out."""
    rows = await link.xrevrange(prefix + ALERTS_KEY, count=count) or []
    found = (decoded((fields or {}).get("alert"), Alert) for _, fields in reversed(rows))
    return [alert for alert in found if alert is not None]
