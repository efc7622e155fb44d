"""What live requests show of a deployment's latency, kept as sums. The curve is fitted to them.

The sums fade with time, in three memories with different half-lives; `fit` says what each is for. Sums of several
workers add up. An observation y is divided by its prediction at dispatch, so that relative errors count. This divisor
is at least y/10, or one outlier would outweigh all others. It is at most 2·y, or a speed-up would hardly count. The
spread is that of observed ÷ predicted at dispatch.

Without live samples the curve is the benchmark's. As the samples age, it returns to the benchmark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

import msgspec

from slo_router.contract.model import KNEES, LatencyFit
from slo_router.latency.curve import Curve, Observation, tpot_s, ttft_s
from slo_router.latency.fit import SWEPT_WEIGHT, Expected, expected, fit_quantity, sigma_of
from slo_router.latency.sums import Sent, Sums, bin_of, products_of, square

HALF_LIVES_S = (60.0, 8.0, 1.0)
AHEAD_S = 1.0  # a newer observation weighs more instead of fading the sums, so that they fade only once a second
CLOCK_BACK_S = 600.0  # an observation older than the newest by more means that the clock was set back
MAX_S, MAX_TOKENS, MAX_LOAD, MAX_UNIX_S = 3_600.0, 10_000_000, 100_000.0, 1e12  # greater values are absurd
LEAST_S = 1e-6
MOST_THOUGHT = 0.9  # of a TTFT; the rest is the prompt's
LONG = 2.0  # decoding must take this many times the TTFT: then a TTFT error of 1/3 makes a TPOT error of 1/6
_TTFT, _TPOT = 5, 3  # numbers in a row: (TTFT, 1, tokens, hidden tokens, load) and (TPOT, 1, load)
_LENGTHS = 15 + 6 * len(KNEES), 6  # number of their products


class Prior(NamedTuple):
    """The benchmark's means and 95th percentiles in seconds, `None` where unmeasured.

    `fit` comes from a sweep. Where it is given, it alone counts. `hidden_tokens` is the mean of an answer's reasoning
    that the client does not see.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    ttft_p95_s: float | None = None
    tpot_p95_s: float | None = None
    fit: LatencyFit | None = None
    hidden_tokens: float = 0.0


class _Sent(msgspec.Struct, gc=False):
    """`Evidence` as JSON between workers."""

    at_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_UNIX_S)]
    ttft: tuple[Sent, Sent, Sent]  # one for each of HALF_LIVES_S
    tpot: tuple[Sent, Sent, Sent]


_decoder = msgspec.json.Decoder(_Sent)


class Evidence:
    """One worker's evidence about one deployment, faded to `at_s`, at most a second before its latest observation.

    Its size is bounded. `changes` counts the observations added.
    """

    __slots__ = ("_raw", "at_s", "changes", "tpot", "ttft")

    def __init__(self) -> None:
        self.at_s: float | None = None  # Unix seconds
        self.changes = 0
        self._raw: tuple[int, msgspec.Raw] | None = None  # number of changes, and the JSON made then
        self.ttft = [Sums.of_length(_LENGTHS[0]) for _ in HALF_LIVES_S]
        self.tpot = [Sums.of_length(_LENGTHS[1]) for _ in HALF_LIVES_S]

    def add(self, observation: Observation, curve: Curve | None, *, is_ttft_known: bool = False) -> None:
        """Learns from one request. `curve` predicted it at dispatch. Impossible values are ignored.

        `is_ttft_known`: its TTFT was learned before, at the first token.
        A late event counts as if it had come in time. A duplicate counts twice.
        """
        at_s, tokens, load = observation.at_s, observation.prompt_tokens, observation.in_flight
        hidden = observation.hidden_tokens
        if not (0 <= at_s <= MAX_UNIX_S and 0 <= tokens <= MAX_TOKENS and 0 <= load <= MAX_LOAD):
            return
        if not 0 <= hidden <= MAX_TOKENS:
            return
        ttft = None if is_ttft_known else _plausible(observation.ttft_s)
        tpot = _tpot_of(observation, curve)
        if ttft is None and tpot is None:
            return
        self.changes += 1
        weights = self._move_to(at_s)
        if ttft is not None:
            expected = None if curve is None else (ttft_s(curve, tokens, load, hidden), curve.ttft_level)
            over = [max(0.0, load - knee) for knee in KNEES]
            _add(self.ttft, weights, (ttft, 1.0, float(tokens), hidden, load), expected, over)
        if tpot is not None:
            expected = None if curve is None else (tpot_s(curve, load), curve.tpot_level)
            _add(self.tpot, weights, (tpot, 1.0, load), expected)

    def _move_to(self, at_s: float) -> list[float]:
        """The weight of an observation of `at_s` in each memory. Fades all sums to `at_s` if that is far ahead."""
        late_s = CLOCK_BACK_S + 1 if self.at_s is None else self.at_s - at_s
        if -AHEAD_S <= late_s <= CLOCK_BACK_S:
            return _fading(late_s)
        if late_s < 0:
            self.ttft, self.tpot = self.faded(-late_s)
        self.at_s = at_s
        return [1.0 for _ in HALF_LIVES_S]

    def faded(self, age_s: float) -> tuple[list[Sums], list[Sums]]:
        """The sums for TTFT and TPOT, faded by `age_s` seconds, one for each memory."""
        factors = _fading(age_s)
        ttft = [sums.faded(factor) for sums, factor in zip(self.ttft, factors, strict=True)]
        return ttft, [sums.faded(factor) for sums, factor in zip(self.tpot, factors, strict=True)]

    def include(self, other: Evidence, now_s: float) -> None:
        """Adds another worker's evidence. Evidence dated after `now_s` counts as of `now_s` (Unix seconds)."""
        if other.at_s is None:
            return
        at_s = min(other.at_s, now_s)
        if self.at_s is None:
            self.at_s = at_s
        elif at_s > self.at_s:
            self.ttft, self.tpot = self.faded(at_s - self.at_s)
            self.at_s = at_s
        weights = _fading(self.at_s - at_s)
        for mine, theirs, weight in zip(self.ttft + self.tpot, other.ttft + other.tpot, weights + weights, strict=True):
            mine.include(theirs, weight)

    @staticmethod
    def merge(parts: Iterable[Evidence], now_s: float) -> Evidence:
        """The sum of all parts."""
        whole = Evidence()
        for part in parts:
            whole.include(part, now_s)
        return whole

    def to_raw(self) -> msgspec.Raw:
        """The evidence as JSON, about 2 kB. It is encoded again only after a change."""
        if self._raw is None or self._raw[0] != self.changes:
            ttft, tpot = [sums.to_json() for sums in self.ttft], [sums.to_json() for sums in self.tpot]
            self._raw = self.changes, msgspec.Raw(msgspec.json.encode({"at_s": self.at_s, "ttft": ttft, "tpot": tpot}))
        return self._raw[1]

    @classmethod
    def from_raw(cls, text: msgspec.Raw) -> Evidence | None:
        """The evidence that `to_raw` wrote, in this or another worker; `None` for anything else."""
        try:
            sent = _decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        found = cls()
        found.at_s = sent.at_s
        found.ttft = [sums for said in sent.ttft if (sums := Sums.of_sent(said, _LENGTHS[0])) is not None]
        found.tpot = [sums for said in sent.tpot if (sums := Sums.of_sent(said, _LENGTHS[1])) is not None]
        return found if len(found.ttft) == len(found.tpot) == len(HALF_LIVES_S) else None


def fit(evidence: Evidence | None, prior: Prior | None, now_s: float) -> Curve | None:
    """The curve at `now_s`; `None` while TTFT or TPOT is known from neither the benchmark nor a live sample."""
    evidence = Evidence() if evidence is None else evidence
    prior = Prior() if prior is None else prior
    ttft, tpot = evidence.faded(0.0 if evidence.at_s is None else max(0.0, now_s - evidence.at_s))
    to_first, to_further = _expected(prior)
    first = fit_quantity(ttft, _TTFT, to_first, KNEES)
    further = fit_quantity(tpot, _TPOT, to_further)
    if first is None or further is None:
        return None
    (a, b, h, c, *rest), knee, ttft_ratios, ttft_level = first
    (d, e), _, tpot_ratios, tpot_level = further
    weight = max(ttft[0].count, tpot[0].count)
    at_s, k = evidence.at_s or 0.0, sum(rest)
    is_swept = knee > 0 and to_first.alternative is not None and knee == KNEES[to_first.alternative]
    usual_tokens, hidden_tokens = _tokens(ttft[0], prior.hidden_tokens)
    known_tokens = max(usual_tokens, 0.0 if prior.fit is None else prior.fit.tokens_max)
    levels, tokens = (ttft_level, tpot_level), (known_tokens, h, hidden_tokens)
    return Curve(a, b, c, d, e, ttft_ratios, tpot_ratios, weight, at_s, *levels, k, knee, is_swept, *tokens)


def _tokens(sums: Sums, hidden_tokens: float) -> tuple[float, float]:
    """A length that hardly any prompt exceeds (mean + 2 standard deviations), and the mean of the hidden tokens.

    Weighed as in the fit. Without prompts: 0, and `hidden_tokens`.
    """
    (_, count, tokens, hidden, _), (_, _, squares, *_) = square(sums.products, _TTFT)[1:3]
    if count <= 0:
        return 0.0, hidden_tokens
    mean = tokens / count
    return mean + 2 * math.sqrt(max(squares / count - mean**2, 0.0)), hidden / count


def _expected(prior: Prior) -> tuple[Expected, Expected]:
    """The benchmark's TTFT and TPOT. What a model thinks before the first token it writes at the pace of an answer."""
    fit = prior.fit
    if fit is None:
        to_first = expected(prior.ttft_s, prior.ttft_p95_s, _TTFT - 1)
        to_further = expected(prior.tpot_s, prior.tpot_p95_s, _TPOT - 1)
        if to_first.line and to_further.line:
            a_s, h_s = _apart(to_first.line[0], prior.hidden_tokens, to_further.line[0])
            to_first = to_first._replace(line=(a_s, 0.0, h_s, 0.0))
        return to_first, to_further
    a_s, h_s = _apart(fit.a_s, prior.hidden_tokens, fit.d_s)
    line = a_s, fit.b_s_per_token, h_s, fit.c_s_per_request
    sigma = sigma_of(fit.ttft_p95_ratio)
    to_first = Expected(line, fit.k_s_per_request, fit.knee, sigma, SWEPT_WEIGHT)
    sigma = sigma_of(fit.tpot_p95_ratio)
    return to_first, Expected((fit.d_s, fit.e_s_per_request), sigma=sigma, slope_weight=SWEPT_WEIGHT)


def _apart(first_s: float, hidden_tokens: float, pace_s: float) -> tuple[float, float]:
    """The time to the first token without what was thought before it, and that by token."""
    if not hidden_tokens:
        return first_s, pace_s
    h_s = min(pace_s, MOST_THOUGHT * first_s / hidden_tokens)
    return first_s - h_s * hidden_tokens, h_s


def _fading(age_s: float) -> list[float]:
    return [0.5 ** (age_s / half_life_s) for half_life_s in HALF_LIVES_S]


def _add(
    memories: list[Sums],
    weights: list[float],
    row: tuple[float, ...],
    expected: tuple[float, float] | None,
    over: Sequence[float] = (),
) -> None:
    """Adds a row. `expected` is the prediction and the level in it. `over` is the load beyond each knee."""
    observed = scale = row[0]
    key = None
    if expected is not None and expected[0] > 0:
        scale = min(max(expected[0] / expected[1], observed / 10), observed * 2)
        key = bin_of(observed / expected[0])
    products = products_of([value / scale for value in row], [value / scale for value in over])
    for sums, weight in zip(memories, weights, strict=True):
        sums.add(products, key, weight)


def _plausible(seconds: float | None) -> float | None:
    return seconds if seconds is not None and LEAST_S <= seconds <= MAX_S else None


def _tpot_of(observation: Observation, curve: Curve | None) -> float | None:
    """Seconds per further token.

    For an answer that was not streamed, the predicted TTFT is subtracted. That needs an answer that decodes for `LONG`
    times its TTFT: else the error of the predicted TTFT would count as the pace of a few tokens.
    """
    e2e_s, tokens, first_s = _plausible(observation.e2e_s), observation.output_tokens, _plausible(observation.ttft_s)
    if e2e_s is None or tokens is None or not 2 <= tokens <= MAX_TOKENS:
        return None
    if observation.ttft_s is None and curve is not None:
        first_s = ttft_s(curve, observation.prompt_tokens, observation.in_flight, observation.hidden_tokens)
        if tpot_s(curve, observation.in_flight) * (tokens - 1) < LONG * first_s:
            return None
        first_s = min(first_s, 0.9 * e2e_s)
    return None if first_s is None else _plausible((e2e_s - first_s) / (tokens - 1))
