"""The proxy's router as this worker last saw it. LiteLLM does not report changes, so a job looks again and again."""

from __future__ import annotations

import copy
import logging
from collections.abc import Container, Generator, Iterable, Sequence
from dataclasses import replace

import litellm

from slo_router.contract.model import Facts
from slo_router.contract.settings.deployments import ManagedDeployment, group_of, read_deployment
from slo_router.errors import SettingsError
from slo_router.gateway import faults, narrowing, pools, seams
from slo_router.gateway.billing import Bills
from slo_router.gateway.config import markups, price_map
from slo_router.gateway.router import Deployment, current_router, deployment_id, model_list
from slo_router.live.probes import Health
from slo_router.telemetry.telemetry import Telemetry
from slo_router.worker.rollout import Rollout
from slo_router.worker.strategy import Strategy

log = logging.getLogger("slo_router")


class FollowedRouter:
    """What a pick needs to know of the proxy's router. Tells the strategy its deployments. `callback` is the plugin."""

    def __init__(self, callback: object, strategy: Strategy, telemetry: Telemetry, rollout: Rollout) -> None:
        self.held: object = None  # LiteLLM's own object
        self.lacking: list[str] = []  # what this LiteLLM does not offer; if anything, LiteLLM routes everything
        self.is_listed: bool | None = None  # whether our callback is among LiteLLM's; `None` until it first was
        self.narrows_all = True
        self.checks_each = True
        self.narrowed_groups: frozenset[str] = frozenset()
        self.limited_groups: frozenset[str] = frozenset()
        self.refusing_groups: frozenset[str] = frozenset()
        self._bills = Bills()
        self._entries: Sequence[Deployment] = ()
        self._callback = callback
        self._strategy = strategy
        self._telemetry = telemetry
        self._rollout = rollout

    def follow(self) -> Generator[None, None, bool]:
        """Looks at what the router offers, its settings and its deployments. False while there is no router.

        A generator, because there may be many deployments: it pauses after each.
        """
        router = current_router()
        if router is None:
            return False
        if router is not self.held:
            self.held = router
            self._greet(router)
        if self.lacking:
            return True
        self._see_if_listed()
        policy = self._rollout.policy
        is_new = policy.version != self._strategy.policy
        self.narrows_all = narrowing.narrows_all(router, self._callback)
        self.checks_each = narrowing.checks_each(router)
        entries = list(model_list(router))
        self.limited_groups = pools.limited_groups(router, entries)
        self.refusing_groups = pools.refusing_groups(router, self.limited_groups)
        if not is_new and entries == self._entries and not self._bills.are_old:
            return True
        self._bills.keep({deployment_id(entry) for entry in entries})
        yield
        copies: list[Deployment] = []
        known: list[ManagedDeployment] = []
        for index, entry in enumerate(entries):
            copies.append(copy.deepcopy(entry))
            for one in _read(entry, index, policy.groups):
                billed = yield from self._bills.facts(copies[-1], one.facts)
                known.append(replace(one, facts=billed))
            yield
        if router is not self.held or policy is not self._rollout.policy:  # it changed: the next call looks again
            return True
        if is_new:
            self._strategy.adopt(policy.groups, policy.version)
            self._telemetry.configure(policy.groups)
        self._entries, self.narrowed_groups = copies, narrowing.narrowed_groups(entries)
        self._strategy.know(known)
        return True

    def _see_if_listed(self) -> None:
        """Logs when somebody takes the plugin out of LiteLLM's callbacks, or puts it back."""
        is_listed = any(one is self._callback for one in litellm.callbacks)
        if is_listed == self.is_listed or (self.is_listed is None and not is_listed):
            return
        if not is_listed:
            log.error("the plugin was taken out of litellm.callbacks: LiteLLM alone routes")
        elif self.is_listed is not None:
            log.info("the plugin is among litellm.callbacks again")
        self.is_listed = is_listed

    def _greet(self, router: object) -> None:
        self.lacking = seams.lacking(router)
        groups = ", ".join(self._strategy.groups)
        if self.lacking:
            log.error("LiteLLM %s lacks %s: LiteLLM alone routes %s", seams.version(), "; ".join(self.lacking), groups)
            return
        log.info("routing %s on LiteLLM %s", groups, seams.version())
        if seams.is_newer_than_tested():
            log.warning("LiteLLM %s is newer than %s.x, the newest tested", seams.version(), seams.NEWEST_TESTED)

    def facts(self, name: str) -> Facts | None:
        """The facts of a deployment that answered. After a fallback it may be in no managed group."""
        known = self._strategy.facts.get(name)
        if known is not None:
            return known
        return facts_of(entry for entry in self._entries if deployment_id(entry) == name).get(name)

    async def ask_health(self, name: str) -> Health:
        """What a health check of this deployment finds now."""
        router = current_router()
        entries = () if router is None else model_list(router)
        found = next((entry for entry in entries if deployment_id(entry) == name), None)
        return "unclear" if found is None else await faults.health(found)


def _read(entry: Deployment, index: int, groups: Container[str]) -> Iterable[ManagedDeployment]:
    """The deployment, if it is managed. One that was added at run time with unusable facts is left out and logged."""
    if group_of(entry, groups) is None:
        return ()
    try:
        return (read_deployment(entry, f"model_list[{index}]", price_map(), groups, markups=markups()),)
    except SettingsError as error:
        log.warning("a deployment is left out: %s", error)
        return ()


def facts_of(entries: Iterable[Deployment]) -> dict[str, Facts]:
    """Facts by id, of deployments that may be in no managed group. If they are unusable, the price is unknown."""
    prices, added, found = price_map(), markups(), dict[str, Facts]()
    for index, entry in enumerate(entries):
        name = deployment_id(entry)
        try:
            facts = read_deployment(entry, f"model_list[{index}]", prices, markups=added).facts
            found[name] = replace(facts, deployment_id=name)
        except SettingsError:
            found[name] = Facts(name, name)
    return found
