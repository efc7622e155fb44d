"""An outage begins with the first request that meets it. It ends with the first later request that arrives."""

from __future__ import annotations

from slo_bench.guard.held import Outage


def test_an_outage_lasts_from_the_first_failure_to_the_send_that_arrived() -> None:
    outage = Outage()
    assert (outage.away_s(5.0), outage.reached(5.0)) == (0.0, None)
    assert (outage.unreached(10.0), outage.unreached(11.0)) == (True, False)
    assert outage.away_s(12.0) == 2.0
    assert outage.reached(9.0) is None  # was on its way before
    assert outage.reached(13.0) == 3.0
    assert outage.away_s(99.0) == 3.0
    outage.unreached(100.0)
    assert outage.away_s(101.0) == 4.0
