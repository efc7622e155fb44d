"""A request's SLO: the first of header, body, key, team and group that names a field decides it. Limits clamp it.

Every value of a client is either refused by name or becomes a finite number in its range.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_router.contract.model import Slo
from slo_router.errors import RequestSloError
from slo_router.request.slo import (
    FIELDS,
    NOTHING_ASKED,
    ResolvedSlo,
    SloInputs,
    cost_ceiling,
    limits_alone,
    read_asked,
    resolve,
)

GROUP = Slo(ttft_s=0.6, tpot_s=0.06, e2e_s=6.0, cost_per_1k_usd=0.06, min_quality=0.6)
HEADERS = [field.header for field in FIELDS]
NAMES = [field.name for field in FIELDS]


def resolved(inputs: SloInputs, group: Slo = GROUP) -> ResolvedSlo:
    return resolve(read_asked(inputs), group)


# --- precedence: each source has its own number, and the strongest source is removed one by one

SOURCES = [  # strongest first: the place, and its values of ttft_ms and cost_per_1k
    ("headers", {"x-slo-ttft-ms": "100", "x-slo-cost-per-1k": "0.01"}, 0.1, 0.01),
    ("body_slo", {"ttft_ms": 200, "cost_per_1k": 0.02}, 0.2, 0.02),
    ("user_slo", {"maxLatencyMs": 300, "maxCostPer1k": 0.03}, 0.3, 0.03),
    ("key_metadata", {"slo": {"ttft_ms": 400, "cost_per_1k": 0.04}}, 0.4, 0.04),
    ("team_metadata", {"slo": {"ttft_ms": 500, "cost_per_1k": 0.05}}, 0.5, 0.05),
]


@pytest.mark.parametrize("strongest", range(len(SOURCES)))
def test_the_strongest_source_that_names_a_field_decides_it(strongest: int) -> None:
    inputs = SloInputs()._replace(**{name: said for name, said, _, _ in SOURCES[strongest:]})  # type: ignore[arg-type]
    _, _, ttft_s, cost = SOURCES[strongest]
    slo = resolved(inputs).slo
    assert slo.ttft_s == pytest.approx(ttft_s)
    assert slo.cost_per_1k_usd == cost
    assert slo[1:3] == (0.06, 6.0)  # nobody named TPOT and E2E: the group's


def test_fields_are_resolved_one_by_one() -> None:
    inputs = SloInputs(
        headers={"x-slo-ttft-ms": "100"},
        body_slo={"ttft_ms": 1, "tpot_ms": 20},
        key_metadata={"slo": {"tpot_ms": 1, "min_quality": 0.9}},
        team_metadata={"slo": {"min_quality": 0.1, "cost_per_1k": 0.05}},
    )
    assert resolved(inputs).slo == pytest.approx(Slo(0.1, 0.02, 6.0, 0.05, 0.9))


def test_a_null_says_nothing() -> None:
    inputs = SloInputs(body_slo={"ttft_ms": None}, user_slo={"maxCostPer1k": None}, key_metadata={"slo": None})
    assert read_asked(inputs) is NOTHING_ASKED
    assert resolved(inputs) == (GROUP, ())


def test_every_field_has_its_header_and_unit() -> None:
    headers = dict(zip(HEADERS, ["150", "30.5", "2e3", "0", ".25"], strict=True))
    assert resolved(SloInputs(headers=headers)).slo == pytest.approx(Slo(0.15, 0.0305, 2.0, 0.0, 0.25))


# --- limits


def most(value: float) -> dict[str, object]:
    return {"cost_per_1k": {"max": value}}


def least(value: float) -> dict[str, object]:
    return {"min_quality": {"min": value}}


@pytest.mark.parametrize(
    ("asked", "key", "team", "expected", "clamped"),
    [
        ({"cost_per_1k": 0.05}, most(0.01), {}, Slo(cost_per_1k_usd=0.01), ("cost_per_1k",)),
        ({"cost_per_1k": 0.005}, most(0.01), {}, Slo(cost_per_1k_usd=0.005), ()),
        # the tighter of both bounds counts, whether it is the key's or the team's
        ({"cost_per_1k": 1}, most(0.01), most(0.02), Slo(cost_per_1k_usd=0.01), ("cost_per_1k",)),
        ({"cost_per_1k": 1}, most(0.02), most(0.01), Slo(cost_per_1k_usd=0.01), ("cost_per_1k",)),
        ({"min_quality": 0.1}, least(0.7), least(0.5), Slo(min_quality=0.7), ("min_quality",)),
        ({"min_quality": 0.1}, least(0.5), least(0.7), Slo(min_quality=0.7), ("min_quality",)),
        # bounds from the other side: no less than 100 ms, no more than 0.8
        ({"ttft_ms": 10}, {"ttft_ms": {"min": 100}}, {}, Slo(ttft_s=0.1), ("ttft_ms",)),
        ({"min_quality": 0.99}, {"min_quality": {"max": 0.8}}, {}, Slo(min_quality=0.8), ("min_quality",)),
        # a missing field means no limit, so a bound applies; but it is not reported to the client, which asked nothing
        ({}, {"e2e_ms": {"max": 5000}}, {}, Slo(e2e_s=5.0), ()),
        ({}, {}, least(0.7), Slo(min_quality=0.7), ()),
        ({"ttft_ms": 50}, {"e2e_ms": {"max": 5000}}, most(0.1), Slo(0.05, None, 5.0, 0.1), ()),
        # "no limit" already keeps a bound on the lowest latency or the highest quality
        ({}, {"ttft_ms": {"min": 100}}, {"min_quality": {"max": 0.8}}, Slo(), ()),
    ],
)
def test_limits_of_key_and_team_clamp_and_say_so(
    asked: object, key: object, team: object, expected: Slo, clamped: tuple[str, ...]
) -> None:
    inputs = SloInputs(body_slo=asked, key_metadata={"slo_limits": key}, team_metadata={"slo_limits": team})
    slo, told = resolved(inputs, group=Slo())
    assert slo == pytest.approx(expected)
    assert told == clamped


def test_a_value_of_the_key_or_the_group_is_bounded_but_not_reported() -> None:
    limits = {"cost_per_1k": {"max": 0.01}, "ttft_ms": {"max": 300}}
    key = {"slo": {"cost_per_1k": 0.5}, "slo_limits": limits}
    slo, told = resolved(SloInputs(key_metadata=key), group=Slo(ttft_s=0.6))
    assert (slo.cost_per_1k_usd, slo.ttft_s) == pytest.approx((0.01, 0.3))
    assert told == ()


def test_the_cost_ceiling_is_the_tighter_bound_of_key_and_team_and_no_wish() -> None:
    def ceiling(key: object, team: object) -> float | None:
        inputs = SloInputs(
            body_slo={"cost_per_1k": 0.5}, key_metadata={"slo_limits": key}, team_metadata={"slo_limits": team}
        )
        return cost_ceiling(read_asked(inputs))

    assert (ceiling(most(0.01), most(0.02)), ceiling(None, most(0.02))) == (0.01, 0.02)
    assert (ceiling(None, None), ceiling({"cost_per_1k": {"min": 0.1}}, least(0.7))) == (None, None)


# --- malformed values are refused by name

MALFORMED_TEXT = [
    "",
    " ",
    "abc",
    "nan",
    "inf",
    "-1",
    "-0.1",
    "1e999",
    "9" * 400,
    "1_000",
    "１２",
    "0x10",
    "1,5",
    "True",
]
MALFORMED = [math.nan, math.inf, -1, -1e-9, 1e308, 10**400, "100", "", True, False, [], [1], {}, {"max": 1}]


@pytest.mark.parametrize("value", [*MALFORMED_TEXT, 5, b"5", ["5"]])
@pytest.mark.parametrize("header", HEADERS)
def test_a_malformed_header_is_refused_with_its_name_and_value(header: str, value: object) -> None:
    with pytest.raises(RequestSloError) as refused:
        read_asked(SloInputs(headers={header: value}))
    assert refused.value.field == header
    assert str(refused.value).startswith(f"{header}: {repr(value)[:70]}")
    assert "expected a number" in str(refused.value)


@pytest.mark.parametrize("value", MALFORMED)
@pytest.mark.parametrize(
    ("source", "shape", "field"),
    [
        ("body_slo", lambda v: {"ttft_ms": v}, "metadata.slo.ttft_ms"),
        ("body_slo", lambda v: {"min_quality": v}, "metadata.slo.min_quality"),
        ("user_slo", lambda v: {"maxLatencyMs": v}, "user_slo.maxLatencyMs"),
        ("key_metadata", lambda v: {"slo": {"cost_per_1k": v}}, "key metadata slo.cost_per_1k"),
        ("team_metadata", lambda v: {"slo_limits": {"e2e_ms": {"max": v}}}, "team metadata slo_limits.e2e_ms.max"),
    ],
)
def test_a_malformed_value_is_refused_with_its_path(source: str, shape: object, field: str, value: object) -> None:
    assert callable(shape)
    with pytest.raises(RequestSloError) as refused:
        read_asked(SloInputs()._replace(**{source: shape(value)}))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        (SloInputs(body_slo=[1]), "metadata.slo"),
        *(
            (SloInputs(body_slo=text), "metadata.slo")
            for text in ("fast", "[1]", '{"ttft_ms": NaN}', "[" * 500, "\ud800")
        ),
        (SloInputs(body_slo='{"latency": 1}'), "metadata.slo.latency"),
        (SloInputs(body_slo='{"ttft_ms": "1"}'), "metadata.slo.ttft_ms"),
        (SloInputs(body_slo={"latency": 1}), "metadata.slo.latency"),
        (SloInputs(body_slo={"x" * 99: 1}), "metadata.slo." + "x" * 40),
        (SloInputs(user_slo="fast"), "user_slo"),
        (SloInputs(user_slo={"ttft_ms": 1}), "user_slo.ttft_ms"),
        (SloInputs(key_metadata={"slo_limits": {"ttft_ms": 5}}), "key metadata slo_limits.ttft_ms"),
        (SloInputs(team_metadata={"slo_limits": {"ttft_ms": {"most": 5}}}), "team metadata slo_limits.ttft_ms.most"),
        (SloInputs(headers={"x-slo-ttft-ms": "0"}), "x-slo-ttft-ms"),  # no first token takes 0 ms
        (SloInputs(headers={"x-slo-min-quality": "1.01"}), "x-slo-min-quality"),
        (SloInputs(headers={"x-slo-category": "a b"}), "x-slo-category"),
        (SloInputs(headers={"x-slo-category": "n\ner"}), "x-slo-category"),
    ],
)
def test_a_wrong_shape_or_unknown_field_is_refused_by_name(inputs: SloInputs, field: str) -> None:
    with pytest.raises(RequestSloError) as refused:
        read_asked(inputs)
    assert refused.value.field == field


def test_a_refusal_can_be_sent_whatever_the_unknown_field_is_called() -> None:
    with pytest.raises(RequestSloError) as refusal:
        read_asked(SloInputs(key_metadata={"slo": {"\ud800\x1b": 1}}))

    assert str(refusal.value).startswith(r"key metadata slo.\ud800\x1b: 1 is not valid")
    str(refusal.value).encode()  # half a surrogate pair would make this fail, and the answer too


def test_a_value_that_python_cannot_print_is_refused_all_the_same() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    for value, kind in ((10**5_000, "int"), (nested, "list")):
        with pytest.raises(RequestSloError, match=rf"metadata\.slo\.ttft_ms: this {kind} is not valid"):
            read_asked(SloInputs(body_slo={"ttft_ms": value}))


def test_the_category_header_is_read_in_any_case() -> None:
    assert read_asked(SloInputs(headers={"x-slo-category": " NER "})).category == "ner"


# --- whatever comes


@pytest.mark.parametrize(
    ("header", "key", "team", "most"),
    [
        (None, None, None, "hedge"),
        ("off", None, None, "off"),
        (" Deadline ", None, None, "deadline"),
        ("hedge", "off", None, "off"),
        ("hedge", None, "deadline", "deadline"),
        (None, False, "hedge", "off"),  # YAML's `off`
    ],
)
def test_of_rescue_everybody_can_only_allow_less(header: object, key: object, team: object, most: str) -> None:
    headers = {} if header is None else {"x-slo-rescue": header}
    inputs = SloInputs(headers, key_metadata={"slo_rescue": key}, team_metadata={"slo_rescue": team})
    assert read_asked(inputs).rescue == most


def test_what_makes_no_sense_of_rescue_is_refused_and_forbids_it_where_it_is_too_late_for_that() -> None:
    inputs = SloInputs(key_metadata={"slo_rescue": "perhaps"})
    with pytest.raises(RequestSloError, match="metadata slo_rescue"):
        read_asked(inputs)
    assert read_asked(limits_alone(inputs)).rescue == "off"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
wishes = json_values | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), json_values | st.floats(0, 2))
bounds = st.dictionaries(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(["min", "max"]), st.floats(0, 2)))
metadata = json_values | st.fixed_dictionaries({}, optional={"slo": wishes, "slo_limits": json_values | bounds})
header_text = st.text(max_size=8) | st.floats(0, 2).map(str) | st.floats().map(str) | st.integers().map(str)
headers = st.dictionaries(st.sampled_from([*HEADERS, "x-slo-category"]), header_text, max_size=3)
users = json_values | st.dictionaries(st.sampled_from(["maxLatencyMs", "maxCostPer1k"]), json_values | st.floats(0, 2))


@given(headers, wishes, users, metadata, metadata)
def test_anything_is_either_refused_by_name_or_becomes_finite_numbers_in_range(
    headers: dict[str, str], body: object, user: object, key: object, team: object
) -> None:
    refused: RequestSloError | None = None
    try:
        slo, clamped = resolved(SloInputs(headers, body, user, key, team))
    except RequestSloError as error:
        refused = error
    if refused:
        assert refused.field.startswith((*HEADERS, "x-slo-category", "metadata.slo", "user_slo", "key ", "team "))
        assert str(refused).startswith(refused.field)
        return
    assert set(clamped) <= set(NAMES)
    for field, value in zip(FIELDS, slo, strict=True):
        assert value is None or (math.isfinite(value) and 0 <= value <= field.maximum * field.scale)
