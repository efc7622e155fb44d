"""A proxy of two workers as an operator sees it: its metrics add up, and policies and switches reach both workers.

Both workers share the Valkey that the plugin itself starts on a host (`redis_url: embedded`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self, cast

import httpx
import pytest
import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families

from evaluation.emulator import Handle
from evaluation.shared.stock_proxy import LOCAL, StockProxy
from slo_router.contract.keys import OFF_KEY, POLICIES_KEY
from slo_router.contract.redis import embedded
from slo_router.contract.redis.link import connect_blocking
from slo_router.contract.settings.config import PluginSettings
from slo_router.contract.settings.group import GroupSettings
from slo_router.worker import rollout
from tests.e2e.conftest import ASK, USD_PER_TOKEN, document, publish, refreshed

PREFIX = "metrics-test:"
REQUESTS = 40
ANSWERS = 40
INTERVAL_S = 0.2
WORKERS = 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the embedded Valkey. Its path is short, because a socket's path must be."""
    directory = tmp_path_factory.mktemp("v")
    yield directory
    embedded.stop(directory)


@pytest.fixture(scope="module")
def two_workers(
    handles: Sequence[Handle], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StockProxy]:
    settings = document(handles, "embedded", key_prefix=PREFIX, refresh_interval_s=INTERVAL_S)
    settings["litellm_settings"] = {"callbacks": ["prometheus", "slo_router.proxy.callback"]}
    environment = {
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("multiproc")),
        "SLO_ROUTER_EMBEDDED_DIR": str(home),
    }
    directory = tmp_path_factory.mktemp("proxy")
    with StockProxy(settings, directory, workers=WORKERS, environment=environment) as running:
        with connect_blocking(embedded.ensure_running(home)) as client:
            publish(client, PREFIX)
            refreshed(running, client, PREFIX, WORKERS)
        yield running
    assert embedded.status(home).running, "the embedded Valkey outlives the proxy: the agent writes to it"


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, "not within 60 s"
        time.sleep(0.05)


def samples(proxy: StockProxy, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The values of one metric by their labels."""
    answer = LOCAL.get(f"{proxy.url}/metrics/", headers=proxy.auth)
    answer.raise_for_status()
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name
    }


def test_the_counts_of_all_workers_add_up(two_workers: StockProxy) -> None:
    body = {"model": "smart", "messages": [{"role": "user", "content": ASK}], "stream": True}
    for number in range(REQUESTS):  # each over its own connection, so that both workers get some
        headers = {**two_workers.auth, "x-slo-min-quality": "0.9" if number % 4 == 0 else "0"}
        LOCAL.post(f"{two_workers.url}/v1/chat/completions", json=body, headers=headers).raise_for_status()
    until(lambda: sum(samples(two_workers, "slo_router_slo_total").values()) >= REQUESTS)
    decisions = samples(two_workers, "model_routing_decisions_total")
    by_deployment = {dict(labels)["deployment"]: count for labels, count in decisions.items()}
    assert by_deployment == {"small": 30, "large": 10}
    assert sum(samples(two_workers, "slo_router_ttft_seconds_count").values()) == REQUESTS
    assert sum(samples(two_workers, "slo_router_decision_seconds_count").values()) == REQUESTS
    # `large` costs fifty times as much as `small`. So 10 × 50 + 30 parts of 40 × 50 were spent, if answers are equal.
    assert USD_PER_TOKEN["large"] == pytest.approx(50 * USD_PER_TOKEN["small"])
    spent_usd = sum(samples(two_workers, "slo_router_cost_usd_total").values())
    baseline_usd = sum(samples(two_workers, "slo_router_baseline_cost_usd_total").values())
    assert spent_usd / baseline_usd == pytest.approx(530 / 2_000, rel=0.05)


def test_the_state_is_fresh(two_workers: StockProxy) -> None:
    since_s = time.time()
    until(lambda: samples(two_workers, "slo_router_snapshot_timestamp_seconds")[()] > since_s)
    assert samples(two_workers, "slo_router_fail_open_total") == {(): 0.0}
    assert samples(two_workers, "slo_router_slo_limit_seconds") == {(("field", "ttft"), ("group", "smart")): 1.0}


def test_who_has_no_key_sees_nothing(two_workers: StockProxy) -> None:
    assert LOCAL.get(f"{two_workers.url}/metrics/").status_code == httpx.codes.UNAUTHORIZED


class Answered(NamedTuple):
    """One answer under load."""

    sent_s: float
    status: int
    decision: str
    reason: str
    selected: str


class Load:
    """Sends requests without a pause, each over its own connection, until the `with` block ends."""

    def __init__(self, proxy: StockProxy, client: redis.Redis) -> None:
        self._proxy = proxy
        self._refresh: Callable[[], None] = lambda: in_force(proxy, client)
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(4)
        self.answers: list[Answered] = []

    def __enter__(self) -> Self:
        for _ in range(4):
            self._pool.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._pool.shutdown()

    def _run(self) -> None:
        body = {"model": "smart", "messages": [{"role": "user", "content": ASK}], "max_tokens": 2}
        while not self._stopping.is_set():
            sent_s = time.monotonic()
            answer = LOCAL.post(f"{self._proxy.url}/v1/chat/completions", json=body, headers=self._proxy.auth)
            said = answer.headers
            names = ("x-slo-decision", "x-slo-reason", "x-slo-selected-model")
            self.answers.append(Answered(sent_s, answer.status_code, *(said.get(name, "") for name in names)))

    def after(self, change: Callable[[], object]) -> list[Answered]:
        """Makes a change. Returns answers to requests sent after every worker had read Redis again."""
        change()
        self._refresh()
        from_s = time.monotonic()
        until(lambda: sum(answer.sent_s > from_s for answer in self.answers) >= ANSWERS)
        return [answer for answer in self.answers if answer.sent_s > from_s]


def in_force(proxy: StockProxy, client: redis.Redis) -> None:
    """Returns when every worker has read what was published, and had two more rounds to apply it."""
    for _ in range(2):
        refreshed(proxy, client, PREFIX, WORKERS)


@pytest.fixture
def client(home: Path) -> Iterator[redis.Redis]:
    with cast("redis.Redis", connect_blocking(embedded.ensure_running(home))) as connected:
        yield connected
        connected.delete(PREFIX + OFF_KEY, PREFIX + POLICIES_KEY)


def test_both_workers_read_and_write_the_one_embedded_valkey(two_workers: StockProxy, client: redis.Redis) -> None:
    publish(client, PREFIX, small={"ttft_ms": 1500})
    client.delete(PREFIX + "slo_router:requests")
    refreshed(two_workers, client, PREFIX, WORKERS)
    body = {"model": "smart", "messages": [{"role": "user", "content": ASK}]}
    picks = set()
    for _ in range(REQUESTS):  # each on its own connection, which either worker may take
        answer = LOCAL.post(f"{two_workers.url}/v1/chat/completions", json=body, headers=two_workers.auth)
        picks.add((answer.headers["x-slo-selected-model"], answer.headers["x-slo-predicted-ttft-ms"]))
    until(lambda: client.xlen(PREFIX + "slo_router:requests") >= REQUESTS)
    refreshed(two_workers, client, PREFIX, WORKERS)
    recorded = client.xlen(PREFIX + "slo_router:requests")
    publish(client, PREFIX)
    refreshed(two_workers, client, PREFIX, WORKERS)

    assert picks == {("medium", "80.0")}
    assert recorded == REQUESTS
    assert two_workers.log.count("INFO slo_router: routing smart on LiteLLM") == 2  # once per worker


def running(proxy: StockProxy) -> PluginSettings:
    document = yaml.safe_load(proxy.config_path.read_text(encoding="utf-8"))
    return PluginSettings.model_validate(document["callback_settings"]["slo_router"])


def test_switches_and_policies_are_in_force_on_both_workers_once_they_have_read_them_and_no_request_fails(
    two_workers: StockProxy, client: redis.Redis
) -> None:
    settings = running(two_workers)
    group = settings.groups["smart"]

    def changed(**update: object) -> dict[str, GroupSettings]:
        return {"smart": GroupSettings.model_validate(group.model_dump(exclude_unset=True) | update)}

    with Load(two_workers, client) as load:
        off = load.after(lambda: rollout.switch(client, PREFIX, "smart", on=False))
        on = load.after(lambda: rollout.switch(client, PREFIX, "smart", on=True))
        better = load.after(lambda: rollout.publish(client, settings, changed(min_quality=0.9)))
        back = load.after(lambda: rollout.roll_back(client, settings))
        shadow = load.after(lambda: rollout.publish(client, settings, changed(mode="shadow")))
        canary = load.after(lambda: rollout.publish(client, settings, changed(mode={"canary": "50%"})))
    assert {answer.status for answer in load.answers} == {200}
    assert {(answer.decision, answer.reason) for answer in off} == {("passthrough", "the group is switched off")}
    assert {(answer.decision, answer.selected) for answer in on} == {("met", "small")}
    assert {answer.selected for answer in better} == {"large"}
    assert {answer.selected for answer in back} == {"small"}
    assert {answer.reason for answer in shadow} == {"shadow: small would have been chosen"}
    assert len({answer.selected for answer in shadow}) > 1  # LiteLLM's own choice: any deployment
    assert {answer.decision for answer in canary} == {"met", "passthrough"}


def test_a_decision_in_shadow_is_recorded_beside_what_litellm_chose(
    two_workers: StockProxy, client: redis.Redis
) -> None:
    settings = running(two_workers)
    group = settings.groups["smart"].model_copy(update={"mode": "shadow"})
    policy = rollout.publish(client, settings, {"smart": group})
    in_force(two_workers, client)
    since_s = time.time()  # requests that ended before may be recorded later
    with Load(two_workers, client) as load:
        load.after(lambda: None)
    refreshed(two_workers, client, PREFIX, WORKERS)
    entries = cast("list[tuple[str, dict[str, str]]]", client.xrange(PREFIX + "slo_router:requests"))
    every = [json.loads(fields["record"]) for _, fields in entries]
    records = [record for record in every if record["ts"] >= since_s]
    assert len(records) > 5
    assert {record["decision"]["policy"] for record in records} == {policy.version}
    assert {record["decision"]["shadow"] for record in records} == {True}
    assert {record["decision"]["deployment"] for record in records} == {"small"}
    assert len({record["deployment"] for record in records}) > 1
