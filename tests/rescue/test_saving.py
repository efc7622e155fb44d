"""What a rescue saved: the silent attempt is assumed to wait as long again; the other deployment's time is deducted."""

from __future__ import annotations

import pytest

from slo_router.contract.record import TryRecord
from slo_router.rescue.saving import saved_s


def tried(sent_ms: float, ended_ms: float, ending: str, first_token_ms: float | None = None) -> TryRecord:
    return TryRecord(
        deployment="a",
        sent_ms=sent_ms,
        deadline_ms=None,
        first_token_ms=first_token_ms,
        ended_ms=ended_ms,
        ending=ending,
    )


def test_what_it_saved_is_in_seconds_and_never_below_0() -> None:
    silent = tried(10.0, 1_010.0, "silent")
    assert saved_s([silent, tried(1_011.0, 5_000.0, "success", first_token_ms=1_210.0)]) == pytest.approx(0.8)
    assert saved_s([silent, tried(1_011.0, 1_510.0, "success")]) == pytest.approx(0.5)
    assert saved_s([silent, tried(1_011.0, 9_000.0, "success", first_token_ms=8_000.0)]) == 0.0
    assert saved_s([tried(0.0, 5.0, "error"), tried(6.0, 9.0, "success")]) == 0.0
