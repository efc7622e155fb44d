"""Alert records: what got worse, by how much, against what. In Redis, as JSON lines, and as one line for people.

{prefix}slo_bench:alerts    stream, field `alert` = JSON, the last `KEPT` alerts
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from slo_bench.gate.entry import Kind
from slo_router.redis_link import AsyncClient

ALERTS = "slo_bench:alerts"
KEPT = 1_000


class Alert(NamedTuple):
    """`figure` was `before` and is `after`; `low` and `high` bound the change with 95 %. Times are Unix seconds.

    They are `None` for a deployment that is held still and can't be compared: the suite is new, or too few items are
    common.
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

    def document(self) -> dict[str, object]:
        """As JSON values."""
        return self._asdict()

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
    """Adds it to the stream. Raises redis.RedisError where it was not written."""
    text = msgspec.json.encode(alert.document()).decode()
    await link.xadd(f"{prefix}{ALERTS}", {"alert": text}, maxlen=KEPT, approximate=False)
