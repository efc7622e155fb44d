"""The world of the stalls: the endpoints, what goes wrong in each phase, and the arms. Pure: all numbers are here.

a    cheapest, so that it serves most; it stalls and freezes      1 USD per million tokens
b    the second cheapest                                          2
c    never stalls or freezes, so that no request need be lost     4
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evaluation.emulator import EndpointSpec, Fault
from evaluation.emulator.faults import StallPlace
from evaluation.robustness.stalls.asking import GROUP
from evaluation.robustness.stalls.ledger import CALLBACK
from evaluation.shared import proxy_config

TTFT_SLO_S = 0.6
RETRIES = 2
SETTLE_S = 6.0  # usual traffic before a phase, not counted: endpoints that failed come back
WHOLE_TIMEOUT_S = 60.0
STALL_SHARE, STALL_S, FREEZE_S, SLOWDOWN = 0.03, 5.0, 10.0, 6.0
SILENT: tuple[StallPlace, ...] = ("connection", "headers", "comments", "opening", "token")
TIMEOUTS_S = (0.5, 1.0, 2.0)  # fixed timeouts, of which the best is chosen
NAMES = ("steady", "stall", "freeze", "burst")
SILENCES = ("stall", "freeze")
USD = {"a": (1e-6, 1e-6), "b": (2e-6, 2e-6), "c": (4e-6, 4e-6)}


def _spec(name: str, ttft_ms: float) -> EndpointSpec:
    return EndpointSpec(name=name, ttft_ms=ttft_ms, tpot_ms=10, slots=64, output_tokens=8, context_tokens=32_768)


SPECS = (_spec("a", 100), _spec("b", 120), _spec("c", 110))


class Event(NamedTuple):
    """From the share `at` of a phase on, the endpoint has these faults."""

    at: float
    endpoint: str
    faults: Sequence[Fault]


class Phase(NamedTuple):
    """What goes wrong while requests are counted."""

    name: str
    title: str
    events: Sequence[Event] = ()


class Arm(NamedTuple):
    """A way to route. `rescue` is the group's section. Arms of one proxy differ in the headers of each request."""

    name: str
    proxy: str
    rescue: Mapping[str, object] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = NAMES  # the phases that it plays


def stalls(places: Sequence[StallPlace], share: float, seconds: float, seed: int = 0) -> list[Fault]:
    """A mix of stalls in which each place has the same part of the share."""
    part = share / len(places)
    return [Fault(fault="stall", place=place, stall_s=seconds, share=part, seed=seed) for place in places]


def phases(seed: int) -> tuple[Phase, ...]:
    """All phases. The seed decides which requests stall."""
    slow = Fault(fault="slow", factor=SLOWDOWN)
    freeze = Fault(fault="stall", place="connection", stall_s=None, for_s=FREEZE_S)
    return (
        Phase("steady", "nothing goes wrong"),
        Phase(
            "stall",
            f"{100 * STALL_SHARE:g} % of the requests to a stall {STALL_S:g} s",
            [Event(0.0, "a", stalls(SILENT, STALL_SHARE, STALL_S, seed))],
        ),
        Phase("freeze", f"a freezes for {FREEZE_S:g} s", [Event(0.25, "a", [freeze])]),
        Phase(
            "burst",
            f"everything is {SLOWDOWN:g} times slower in the middle third",
            [Event(at, spec.name, [fault]) for at, fault in ((1 / 3, slow), (2 / 3, Fault())) for spec in SPECS],
        ),
    )


NO_RESCUE = Arm("no rescue", "off")
RESCUED = "rescue"


def arms(rescue: Mapping[str, object] | None, *, is_light: bool = False) -> tuple[Arm, ...]:
    """Our router without rescue and, if `rescue` has settings, with rescue.

    If `is_light`, both arms use one proxy, and the arm with rescue plays first: a rescued request does not teach the
    proxy how long stalls last.
    """
    if rescue is None:
        return (NO_RESCUE,)
    rescued = Arm(RESCUED, "on", rescue)
    if is_light:
        return rescued, Arm(NO_RESCUE.name, "on", rescue, (("x-slo-rescue", "off"),))
    return NO_RESCUE, rescued


def fixed(seconds: float) -> tuple[Arm, ...]:
    """The arms with a fixed `stream_timeout`: our router, and LiteLLM's own."""
    said = (("x-litellm-stream-timeout", f"{seconds:g}"),)
    return (
        Arm(f"no rescue, stream_timeout {seconds:g}", "off", None, said, SILENCES),
        Arm(f"LiteLLM alone, stream_timeout {seconds:g}", "litellm", None, said, SILENCES),
    )


def document(proxy: str, api_bases: Mapping[str, str], rescue: Mapping[str, object] | None) -> dict[str, object]:
    """The whole configuration of a proxy. LiteLLM's own router sends eight in ten requests to a, like ours."""
    entries = [
        proxy_config.deployment(
            GROUP,
            spec.name,
            api_bases[spec.name],
            usd=USD[spec.name],
            params={
                "timeout": WHOLE_TIMEOUT_S,
                **({"weight": 8 if spec.name == "a" else 1} if proxy == "litellm" else {}),
            },
            quality=0.9,
        )
        for spec in SPECS
    ]
    group: dict[str, object] = {"slo": {"ttft_ms": 1_000 * TTFT_SLO_S}, "objective": "cheapest"}
    made = proxy_config.document(
        entries, {GROUP: group | {"rescue": dict(rescue) if rescue else "off"}}, redis_url="embedded"
    )
    callbacks = [proxy_config.CALLBACK, CALLBACK]
    if proxy == "litellm":
        del made["callback_settings"], callbacks[0]
    return made | {"litellm_settings": {"callbacks": callbacks}, "router_settings": {"num_retries": RETRIES}}
