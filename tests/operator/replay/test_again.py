"""A record is decided again as it was. Draws and trials are named, and so are records that no longer agree."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as replace_fields

from slo_router.contract.model import Metrics, Slo
from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.replay.again import decided_again
from tests.shared.builders import NOW_S, decided, measured
from tests.shared.record_builders import LARGE, SMALL, decide_between, read_back

SETTLED = GroupSettings(trial_share=0.0)
FACTS = {"small": SMALL, "large": LARGE}


def test_a_recorded_decision_is_decided_again_as_it_was() -> None:
    decision = decide_between()
    record = read_back(decision)
    assert record.decision is not None
    assert decided_again(record, record.decision, SETTLED, FACTS) == (True, "the same")


def test_equals_and_trials_are_told() -> None:
    twins = {name: replace(SMALL, deployment_id=name) for name in ("a", "b", "c")}
    drawn = read_back(decided(list(twins.values())))
    assert drawn.decision is not None
    assert decided_again(drawn, drawn.decision, SETTLED, twins) == (True, "the same, drawn from equals: a, b, c")
    group = GroupSettings(trial_share=1.0)
    half_known = measured(large=Metrics(NOW_S, 0.1))
    tried = read_back(decided([SMALL, LARGE], slo=Slo(ttft_s=0.3), snapshot=half_known, group=group))
    assert tried.decision is not None
    assert tried.decision.deployment == "small"
    assert decided_again(tried, tried.decision, group, FACTS) == (
        True,
        "the same, as a trial of a cheaper one; else large",
    )


def test_what_no_longer_agrees_is_told() -> None:
    record = read_back(decide_between())
    assert record.decision is not None
    forged = replace_fields(record.decision, deployment="large")
    agrees, text = decided_again(record, forged, SETTLED, FACTS)
    assert not agrees
    assert text.startswith("differs: small;")
    assert decided_again(record, record.decision, SETTLED, {"small": SMALL}) == (
        False,
        "not decided again: large left the YAML",
    )
