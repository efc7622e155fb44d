"""Two policies are compared setting by setting, with nested settings and lists."""

from __future__ import annotations

import pytest

from slo_router.contract.settings.group import GroupSettings
from slo_router.operator.replay.policy_difference import differences


def group(**settings: object) -> dict[str, GroupSettings]:
    return {"smart": GroupSettings.model_validate(settings)}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (group(), group(), []),
        (group(trial_share=0.02), group(), []),  # the default, written or not
        (group(slo={"ttft_ms": 300}), group(slo={"ttft_ms": 150}), ["smart.slo.ttft_ms: 150.0, was 300.0"]),
        (group(), group(min_quality={"code": 0.8}), ["smart.min_quality.code: 0.8, was unset"]),
        (group(min_quality=0.5), group(), ["smart.min_quality.default: unset, was 0.5"]),
        (group(), group(mode="shadow"), ["smart.mode: shadow, was route"]),
        (
            group(),
            group(mode={"canary": "5%"}),
            ["smart.mode: unset, was route", "smart.mode.by: request, was unset", "smart.mode.canary: 0.05, was unset"],
        ),
        (
            group(categories={"legal": ["clause"]}),
            group(categories={"legal": ["clause", "tort"]}),
            ["smart.categories.legal.words: ['clause', 'tort'], was ['clause']"],
        ),
    ],
)
def test_each_difference_is_named_with_both_values(
    old: dict[str, GroupSettings], new: dict[str, GroupSettings], said: list[str]
) -> None:
    assert differences(old, new) == said
