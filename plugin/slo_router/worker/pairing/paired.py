"""Compares an answer with that of another deployment to the same prompt, after it went out, and learns from it.

    a request ends → drawn by `share` → waits, in memory → another deployment is asked the same → the request's schema
    tells, or a judge says twice, in both orders, which is better → the sums in Redis (`comparisons`), no text anywhere

`quality.choosing` says which deployment to ask, or that none is worth it. Some comparisons are of two answers of the
same deployment: what a judge says of these is its bias. Each worker makes one comparison at a time. It makes none whose
cost is unknown or may pass the day's budget (`purse`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from slo_router.contract.ages import HOUR_S
from slo_router.contract.judge.verdicts import Winner, score, verdict
from slo_router.contract.settings.group import ShadowEvaluationSettings
from slo_router.decision.groups import rules_of
from slo_router.quality.choosing import Demand, Standing, choose, weighing
from slo_router.quality.comparing import Pair, together
from slo_router.quality.evidence import Cell
from slo_router.quality.judging import Graded, standing
from slo_router.request.conditions import schema_of
from slo_router.request.signals import breaks_schema
from slo_router.worker.pairing.asking import Asking, Call, Messages, Reply, again, most_usd, to_judge
from slo_router.worker.pairing.comparisons import compared, controlled, note
from slo_router.worker.pairing.purse import OverBudgetError, Purse, Use
from slo_router.worker.strategy import Strategy
from slo_router.worker.tasks.jobs import ToldError
from slo_router.worker.tasks.turns import Steps, in_turns

AFTER_S = 2.0  # an answer is compared so long after it went out, at the earliest
MOST_WAITING = 20  # answers; the oldest are dropped
LONGEST_WAIT_S = 60.0
CALL_S = 120.0  # a second answer or a verdict may take so long
WEIGHED_S = 60.0  # after this it is worked out anew what comparisons are worth

log = logging.getLogger("slo_router")


class Finished(NamedTuple):
    """A request that ended, and its answer. `ended_s` is Unix seconds.

    `usd` is its expected cost on each deployment that LiteLLM offered for it and that could answer it, by id.
    """

    group: str
    category: str
    floor: float | None
    served: str
    usd: Mapping[str, float]
    messages: Messages
    parameters: Mapping[str, object]
    answer: str
    ended_s: float
    form: Mapping[str, object] | None = None  # the JSON schema that the answer must keep, as the request has it


def _graded(finished: Finished, other: str) -> list[Winner | None] | None:
    """What the request's schema says of its answer and another, as verdicts in both orders; `None` if both keep it."""
    if finished.form is None:
        return None
    schema = schema_of(finished.form)
    is_broken, is_other_broken = (breaks_schema(text, schema) for text in (finished.answer, other))
    if is_broken and is_other_broken:
        return ["tie", "tie"]
    return ["B", "A"] if is_broken else ["A", "B"] if is_other_broken else None


class SkippedError(Exception):
    """A comparison is not made, or has no result. The text is one word that says why."""


class Seen:
    """The recent requests of a category: how many, and which deployments answered."""

    def __init__(self, first: Finished) -> None:
        self.latest = first
        self.weight = 0.0
        self._served: dict[str, float] = {}  # by deployment id: when, Unix seconds
        self.see(first)

    def see(self, finished: Finished) -> None:
        """Counts one more request."""
        self.weight = self.at(finished.ended_s) + 1
        self._served[finished.served] = finished.ended_s
        self.latest = finished

    def at(self, now_s: float) -> float:
        """How many requests there were, as they weigh at `now_s`."""
        return float(self.weight * 0.5 ** (abs(now_s - self.latest.ended_s) / HOUR_S))

    def served(self, now_s: float) -> frozenset[str]:
        """The deployments that answered within the last hour."""
        return frozenset(name for name, at_s in self._served.items() if now_s - at_s < HOUR_S)


class ShadowEvaluation:
    """Compares answers for one worker. Calls `told` with the group and outcome of each comparison that ended."""

    def __init__(self, prefix: str, strategy: Strategy, asking: Asking, told: Callable[[str, str], None]) -> None:
        self._prefix = prefix
        self._strategy = strategy
        self._asking = asking
        self._told = told
        self._rng = random.Random()  # noqa: S311  # the proxy's own randomness is not touched
        self._waiting: deque[Finished] = deque(maxlen=MOST_WAITING)
        self._seen: dict[str, dict[str, Seen]] = {}  # by group and category
        self._worth: dict[str, tuple[float, Mapping[Pair, float]]] = {}  # by group, with when it was worked out
        self._task: asyncio.Task[None] | None = None
        self._said: set[str] = set()

    def wants(self, group: str) -> bool:
        """Whether a request that ended is drawn."""
        settings = self._settings(group)
        return settings is not None and self._rng.random() < settings.share

    def offer(self, finished: Finished) -> None:
        """Queues a request that was drawn and may be compared, if its group has a judge or grader for it."""
        settings = self._settings(finished.group)
        if settings is None or (settings.judge if finished.form is None else settings.grader) is None:
            return
        self._waiting.append(finished)
        if finished.floor is not None:
            categories = self._seen.setdefault(finished.group, {})
            if finished.category in categories:
                categories[finished.category].see(finished)
            else:
                categories[finished.category] = Seen(finished)

    async def round(self, use: Use) -> None:
        """Starts the next comparison that is due, if none is under way; call it about once a second."""
        if self._task is not None and not self._task.done():
            return
        now_s = time.time()
        while self._waiting and now_s - self._waiting[0].ended_s >= AFTER_S:
            finished = self._waiting.popleft()
            if now_s - finished.ended_s < LONGEST_WAIT_S:
                self._task = asyncio.create_task(self._evaluate(finished, use), name="slo_router compares")
                return

    async def aclose(self) -> None:
        """Cancels the comparison under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _settings(self, group: str) -> ShadowEvaluationSettings | None:
        managed = self._strategy.groups.get(group)
        return None if managed is None else managed.settings.shadow_evaluation

    async def _evaluate(self, finished: Finished, use: Use) -> None:
        try:
            outcome = await self._compare(finished, use)
        except SkippedError as reason:
            outcome = str(reason)
        except OverBudgetError:
            outcome = "over_budget"
        except ToldError:
            outcome = "no_redis"
        except Exception as error:  # noqa: BLE001  # whatever a provider's code raises
            outcome = "failed"
            self._say(f"{finished.group}: a comparison failed: {type(error).__name__}")
        self._told(finished.group, outcome)

    async def _compare(self, finished: Finished, use: Use) -> str:
        settings = self._settings(finished.group)
        if settings is None:
            raise SkippedError("off")
        is_control = settings.judge is not None and self._rng.random() < settings.control_share
        partner = finished.served if is_control else await self._partner(finished)
        judge = self._judge_of(settings, finished)
        if self._is_away(partner):
            raise SkippedError("away")
        purse = Purse(use, self._prefix, finished.group, settings.usd_per_day)
        second = await self._ask(purse, partner, again(finished.messages, finished.parameters), finished)
        if not second.is_whole:
            raise SkippedError("cut")
        verdicts = None if is_control else _graded(finished, second.text)
        if verdicts is None and (second.text != finished.answer or is_control) and judge is not None:
            verdicts = await self._judge(purse, judge, finished, second.text)
        verdicts = verdicts or ["tie", "tie"]
        now_s, found = time.time(), score(*verdicts)
        if found is None:
            raise SkippedError("unreadable")
        if is_control and settings.judge is not None:
            counts = controlled(settings.judge, verdicts)
        else:
            counts = compared(finished.served, partner, finished.category, found, now_s)
        await use(lambda client: note(client, self._prefix, now_s, counts))
        return "control" if is_control else {1.0: "better", 0.5: "tie", 0.0: "worse"}[found]

    def _judge_of(self, settings: ShadowEvaluationSettings, finished: Finished) -> str | None:
        """A deployment that judges; `None` if none is to. Raises SkippedError if none can, before any call is paid."""
        if settings.judge is None:
            return None
        judges = self._asking.deployments(settings.judge)
        if not judges:
            self._say(f"{finished.group}: nobody judges, for {settings.judge} has no deployment")
            raise SkippedError("away")
        judge = self._rng.choice(judges)
        self._price(judge, to_judge((), "", ""), finished.category)
        return judge

    async def _judge(self, purse: Purse, judge: str, finished: Finished, other: str) -> list[Winner | None]:
        """The judge's verdicts, with the answer first and with the other answer first."""
        orders = ((finished.answer, other), (other, finished.answer))
        said = [await self._ask(purse, judge, to_judge(finished.messages, *order), finished) for order in orders]
        return [verdict(reply.text) for reply in said]

    def _is_away(self, name: str) -> bool:
        """Whether a deployment is not known, or is known not to answer now."""
        state = self._strategy.live.states.get(name)
        is_down = state is not None and (state.circuit.is_open or state.account.is_shut)
        return name not in self._strategy.facts or is_down

    async def _ask(self, purse: Purse, name: str, call: Call, finished: Finished) -> Reply:
        async def asked() -> Reply:
            async with asyncio.timeout(CALL_S):
                return await self._asking.ask(name, call)

        return await purse.pay(self._price(name, call, finished.category), asked)

    def _price(self, name: str, call: Call, category: str) -> float:
        """USD that a call costs at most. Raises SkippedError where that is unknown."""
        measured = self._strategy.store.snapshot.measured.get(name, {}).get(category)
        usd = most_usd(self._asking.facts(name), measured, call)
        if usd is None:
            self._say(f"{name} has no known price: nothing is compared with it, nor judged by it")
            raise SkippedError("unpriced")
        return usd

    async def _partner(self, finished: Finished) -> str:
        """The other deployment to ask. Raises SkippedError where that is not worth it."""
        made = self._worth.get(finished.group)
        if made is None or abs(time.time() - made[0]) > WEIGHED_S:
            made = self._worth[finished.group] = time.time(), await self._weigh(finished.group)
        partner = choose(finished.served, finished.category, made[1])
        if partner is None or partner not in finished.usd:  # none, or one that this request may not use
            raise SkippedError("not_worth_it")
        return partner

    async def _weigh(self, group: str) -> Mapping[Pair, float]:
        """What each comparison of the group is worth."""
        strategy, now_s = self._strategy, time.time()
        rules, seen = rules_of(strategy.groups[group].settings), self._seen.get(group, {})
        total = sum(one.at(now_s) for one in seen.values())
        demands = {
            category: Demand(one.latest.floor, rules.confidence, one.at(now_s) / total, one.served(now_s))
            for category, one in seen.items()
            if one.latest.floor is not None and one.served(now_s)
        }
        facts = [one for name, one in strategy.facts.items() if strategy.group_of.get(name) == group]
        graded = Graded(strategy.store.snapshot.measured, strategy.feedback.sums, strategy.comparisons.rows)
        stands: dict[Cell, Standing] = {}

        def steps() -> Steps:
            for step in standing(facts, graded, list(demands), now_s, rules):
                stands.update(() if step is None else (step,))
                yield

        await in_turns(steps())
        usd = {category: one.latest.usd for category, one in seen.items()}
        return await in_turns(weighing(usd, stands, demands, together(graded.pairs, rules.half_life_s)))

    def _say(self, text: str) -> None:
        """Logs a warning once."""
        if text not in self._said:
            self._said.add(text)
            log.warning("shadow evaluation: %s", text)
