"""Virtual keys of the stock proxy keep their meaning when the plugin routes: access, aliases, SLOs, budgets, spend.

Real keys and teams on a real Postgres, issued and billed by LiteLLM. Deployments, prices and qualities are conftest's;
of each 1,000 tokens `small` costs 0.0001 to 0.0002 USD, `medium` 0.0005 to 0.001, `large` 0.005 to 0.01.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import openai
import psycopg
import pytest
import redis
from typer.testing import CliRunner, Result

from evaluation.emulator import Handle
from evaluation.quality.litellm_database import litellm_database
from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.operator.cli import app
from slo_router.operator.estimate.reading.spend_logs import COLUMNS
from tests.e2e.conftest import ASK, USD_PER_TOKEN, document, publish, refreshed
from tests.shared.needed import needed

pytestmark = pytest.mark.timeout(900)  # Postgres and Prisma's engine are installed by whoever comes first
T = TypeVar("T")

PREFIX = "keys:"  # in the Valkey that the end-to-end tests share
MESSAGES = [{"role": "user", "content": ASK}]
GPT_4_REQUESTS: dict[str, dict[str, object]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": ASK},
    "/v1/responses": {"input": ASK},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 20},
}
LIMITS = {"cost_per_1k": {"max": 0.002}, "min_quality": {"min": 0.7}}  # only `medium` is within
LOOSE = {"cost_per_1k": {"max": 0.5}, "min_quality": {"min": 0.1}}  # all are
ACCESS_GROUP = "beta"  # of `medium` and `large`
ALIAS = {"models": ["smart", "gpt-4"], "aliases": {"gpt-4": "smart"}}  # LiteLLM 1.100 looks for the alias in `models`


@dataclass(frozen=True, slots=True)
class Platform:
    """The running proxy as its administrator and its clients see it."""

    proxy: StockProxy
    http: httpx.Client
    redis: redis.Redis
    handles: Sequence[Handle]
    database: str  # its URL

    def create(self, path: str, **body: object) -> dict[str, object]:
        response = self.http.post(path, headers=self.proxy.auth, json=body)
        assert response.status_code == httpx.codes.OK, response.text
        created: dict[str, object] = response.json()
        return created

    def key(self, **settings: object) -> str:
        return str(self.create("/key/generate", **settings)["key"])

    def team(self, **settings: object) -> str:
        return str(self.create("/team/new", **settings)["team_id"])

    def ask(self, key: str, headers: Mapping[str, str] | None = None, **body: object) -> httpx.Response:
        everything = {"model": "smart", "messages": MESSAGES, "max_tokens": 20, **body}
        return self.call("/v1/chat/completions", key, everything, headers)

    def call(
        self, path: str, key: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return self.http.post(path, headers={"Authorization": f"Bearer {key}", **(headers or {})}, json=body)

    def openai_client(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.proxy.url}/v1", api_key=key, max_retries=0)

    def spend_usd(self, key: str) -> float:
        response = self.http.get("/key/info", headers=self.proxy.auth, params={"key": key})
        return float(response.json()["info"]["spend"])

    def spend_logs(self, key: str) -> list[dict[str, object]]:
        response = self.http.get("/spend/logs", headers=self.proxy.auth, params={"api_key": key})
        rows: list[dict[str, object]] = response.json()
        return rows

    def records(self, key_alias: str) -> list[dict[str, object]]:
        entries = self.redis.xrange(f"{PREFIX}slo_router:requests") or []
        records = [json.loads(fields["record"]) for _, fields in entries if fields is not None]
        return [record for record in records if record["key_alias"] == key_alias]

    def seen(self) -> int:
        return sum(len(handle.seen()) for handle in self.handles)


@pytest.fixture(scope="module")
def platform(
    handles: Sequence[Handle], valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    configuration = document(handles, valkey.url, key_prefix=PREFIX, refresh_interval_s=0.2, feedback=True)
    for entry in configuration["model_list"]:  # type: ignore[attr-defined]
        if entry["model_info"]["id"] in ("medium", "large"):
            entry["model_info"]["access_groups"] = [ACCESS_GROUP]
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(valkey.url, decode_responses=True, socket_timeout=60))
        publish(client, PREFIX)
        with needed():
            database = stack.enter_context(litellm_database())
        environment = {
            **database,
            "PROXY_BATCH_WRITE_AT": "1",
            "STORE_MODEL_IN_DB": "True",
        }  # seconds between writes of the spend
        proxy = StockProxy(configuration, tmp_path_factory.mktemp("virtual-keys"), environment=environment)
        stack.enter_context(proxy)
        refreshed(proxy, client, PREFIX)
        once = httpx.Limits(max_keepalive_connections=0)  # an idle connection may just be closed
        http = stack.enter_context(httpx.Client(base_url=proxy.url, timeout=60, limits=once))
        yield Platform(proxy, http, client, handles, database["DATABASE_URL"])


def _decided(response: httpx.Response) -> tuple[str, str, str | None]:
    """Who was selected, how, and which of the request's wishes were clamped."""
    assert response.status_code == httpx.codes.OK, response.text
    headers = response.headers
    return headers["x-slo-selected-model"], headers["x-slo-decision"], headers.get("x-slo-clamped")


def _eventually(read: Callable[[], T | None], timeout_s: float = 120.0) -> T:
    """The first answer that is not `None`: LiteLLM writes spend in the background."""
    deadline_s = time.monotonic() + timeout_s
    while (answer := read()) is None:
        assert time.monotonic() < deadline_s, f"nothing within {timeout_s:g} s"
        time.sleep(0.2)
    return answer


def test_a_key_limited_to_the_group_is_routed_in_it(platform: Platform) -> None:
    key = platform.key(models=["smart"])
    assert _decided(platform.ask(key)) == ("small", "met", None)
    assert _decided(platform.ask(key, {"x-slo-min-quality": "0.9"})) == ("large", "met", None)


@pytest.mark.parametrize("model", ["plain", "small", "gpt-4"])  # another group, a deployment's id, nothing
def test_a_key_limited_to_the_group_gets_nothing_else(platform: Platform, model: str) -> None:
    key, before = platform.key(models=["smart"]), platform.seen()
    response = platform.ask(key, model=model)
    assert response.status_code == httpx.codes.FORBIDDEN
    assert response.json()["error"]["type"] == "key_model_access_denied"
    assert platform.seen() == before


def test_a_key_of_another_group_does_not_get_in(platform: Platform) -> None:
    key = platform.key(models=["plain"])
    assert platform.ask(key).status_code == httpx.codes.FORBIDDEN
    outside = platform.ask(key, model="plain")
    assert outside.status_code == httpx.codes.OK
    assert not [name for name in outside.headers if name.startswith("x-slo-")]


def test_a_key_of_an_access_group_is_routed_among_its_deployments(platform: Platform) -> None:
    key = platform.key(models=[ACCESS_GROUP])
    assert _decided(platform.ask(key)) == ("medium", "met", None)  # small is cheaper and not in the group
    assert _decided(platform.ask(key, {"x-slo-min-quality": "0.9"})) == ("large", "met", None)
    assert platform.ask(key, model="plain").status_code == httpx.codes.FORBIDDEN


def test_an_alias_reroutes_an_unchanged_openai_client(platform: Platform) -> None:
    key = platform.key(**ALIAS)
    with platform.openai_client(key) as client:
        whole = client.chat.completions.with_raw_response.create(
            model="gpt-4", messages=[{"role": "user", "content": ASK}]
        )
        assert whole.headers["x-slo-selected-model"] == "small"
        assert whole.parse().model == "gpt-4"  # it never learns
        streamed = client.chat.completions.with_raw_response.create(
            model="gpt-4", messages=[{"role": "user", "content": ASK}], stream=True
        )
        assert streamed.headers["x-slo-selected-model"] == "small"
        text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed.parse() if chunk.choices)
        assert text.startswith("[small]")


@pytest.mark.parametrize("path", GPT_4_REQUESTS)
def test_an_alias_is_routed_on_every_route(platform: Platform, path: str) -> None:
    key = platform.key(**ALIAS, metadata={"slo": {"min_quality": 0.7}})
    response = platform.call(path, key, {"model": "gpt-4", **GPT_4_REQUESTS[path]})
    assert _decided(response) == ("medium", "met", None)


def test_the_keys_slo_applies_until_the_request_says_otherwise(platform: Platform) -> None:
    key = platform.key(metadata={"slo": {"min_quality": 0.9}})
    assert _decided(platform.ask(key)) == ("large", "met", None)
    assert _decided(platform.ask(key, metadata={"slo": {"min_quality": 0.7}})) == ("medium", "met", None)
    assert _decided(platform.ask(key, {"x-slo-min-quality": "0.1"})) == ("small", "met", None)


def test_the_keys_slo_wins_over_the_teams_field_by_field(platform: Platform) -> None:
    team = platform.team(metadata={"slo": {"min_quality": 0.9}})
    assert _decided(platform.ask(platform.key(team_id=team)))[0] == "large"
    own = platform.key(team_id=team, metadata={"slo": {"min_quality": 0.7}})
    assert _decided(platform.ask(own)) == ("medium", "met", None)
    other_field = platform.key(team_id=team, metadata={"slo": {"cost_per_1k": 0.02}})
    assert _decided(platform.ask(other_field)) == ("large", "met", None)


@pytest.mark.parametrize(
    ("headers", "body", "clamped"),
    [
        ({}, {}, None),  # nothing asked: bounded, and nothing to be told
        ({"x-slo-min-quality": "0.75", "x-slo-cost-per-1k": "0.0015"}, {}, None),  # within
        ({"x-slo-min-quality": "0.1"}, {}, "min_quality"),
        ({"x-slo-cost-per-1k": "1"}, {}, "cost_per_1k"),
        ({}, {"metadata": {"slo": {"min_quality": 0}}}, "min_quality"),
        ({}, {"user_slo": {"maxCostPer1k": 1}}, "cost_per_1k"),
        ({"x-slo-min-quality": "0.1", "x-slo-cost-per-1k": "1"}, {}, "cost_per_1k,min_quality"),
        (
            {"x-slo-min-quality": "0.1"},
            {"metadata": {"slo_limits": {}, "user_api_key_metadata": {}, "user_api_key_team_metadata": {}}},
            "min_quality",
        ),
    ],
)
def test_a_keys_limits_hold_whatever_is_asked(
    platform: Platform, headers: dict[str, str], body: dict[str, object], clamped: str | None
) -> None:
    key = platform.key(metadata={"slo_limits": LIMITS})
    assert _decided(platform.ask(key, headers, **body)) == ("medium", "met", clamped)


@pytest.mark.parametrize(
    ("of_key", "of_team"),
    [({}, LIMITS), (LIMITS, LOOSE), (LOOSE, LIMITS)],
    ids=["only the team's", "the key's are tighter", "the team's are tighter"],
)
def test_the_tighter_limits_of_key_and_team_hold(
    platform: Platform, of_key: dict[str, object], of_team: dict[str, object]
) -> None:
    team = platform.team(metadata={"slo_limits": of_team})
    key = platform.key(team_id=team, metadata={"slo_limits": of_key})
    asked = {"x-slo-min-quality": "0.01", "x-slo-cost-per-1k": "1"}
    assert _decided(platform.ask(key, asked)) == ("medium", "met", "cost_per_1k,min_quality")


def test_an_impossible_wish_does_not_lift_a_key_above_its_cost_ceiling(platform: Platform) -> None:
    key = platform.key(models=["smart"], metadata={"slo_limits": {"cost_per_1k": {"max": 0.001}}})

    answer = platform.ask(key, {"x-slo-ttft-ms": "1"})

    assert _decided(answer)[:2] == ("medium", "fallback")  # large, the best, costs 0.005 and more per 1,000 tokens


def test_it_goes_on_routing_when_the_router_settings_are_reloaded(platform: Platform) -> None:
    key = platform.key(models=["smart"])
    changed = {"router_settings": {"routing_strategy": "least-busy"}}
    answer = platform.http.post("/config/update", headers=platform.proxy.auth, json=changed)
    assert answer.status_code == httpx.codes.OK, answer.text

    def reloaded() -> bool | None:
        assert _decided(platform.ask(key))[0] == "small"  # also in between: never LiteLLM's least busy
        settings = platform.http.get("/router/settings", headers=platform.proxy.auth).json()
        return settings["current_values"]["routing_strategy"] == "least-busy" or None

    assert _eventually(reloaded, timeout_s=120)
    for _ in range(5):
        assert _decided(platform.ask(key))[0] == "small"


def test_a_malformed_slo_of_a_key_is_named(platform: Platform) -> None:
    key, before = platform.key(metadata={"slo": {"min_quality": 7}}), platform.seen()
    response = platform.ask(key)
    assert response.status_code == httpx.codes.BAD_REQUEST
    assert "key metadata slo.min_quality: 7" in response.json()["error"]["message"]
    assert platform.seen() == before


def test_the_keys_budget_ends_its_requests(platform: Platform) -> None:
    key = platform.key(max_budget=0.0001)  # USD; one answer of `large` costs more than 20 tokens × 0.00001 = 0.0002
    assert platform.ask(key, {"x-slo-min-quality": "0.9"}).status_code == httpx.codes.OK

    def refused() -> httpx.Response | None:
        response = platform.ask(key)
        return None if response.status_code == httpx.codes.OK else response

    assert _eventually(refused).json()["error"]["type"] == "budget_exceeded"
    before = platform.seen()
    assert platform.ask(key).is_client_error
    assert platform.seen() == before


def test_the_keys_rate_limit_holds(platform: Platform) -> None:
    key = platform.key(rpm_limit=1)
    assert platform.ask(key).status_code == httpx.codes.OK
    assert platform.ask(key).status_code == httpx.codes.TOO_MANY_REQUESTS


def test_spend_is_booked_on_the_deployment_that_answered(platform: Platform) -> None:
    team = platform.team()
    key = platform.key(key_alias="payer", team_id=team)
    expected: dict[str, float] = {}
    for quality in ("0.1", "0.7"):
        response = platform.ask(key, {"x-slo-min-quality": quality})
        selected, usage = response.headers["x-slo-selected-model"], response.json()["usage"]
        expected[selected] = _cost_usd(selected, usage["prompt_tokens"], usage["completion_tokens"])
    expected |= _streamed_cost_usd(platform, key, min_quality="0.9")
    assert list(expected) == ["small", "medium", "large"]

    records = _eventually(lambda: found if len(found := platform.records("payer")) == len(expected) else None)
    assert {record["deployment"]: record["cost_usd"] for record in records} == pytest.approx(expected)
    assert {record["team_id"] for record in records} == {team}
    rows = _eventually(lambda: rows if len(rows := platform.spend_logs(key)) == len(expected) else None)
    assert {row["model_id"]: row["spend"] for row in rows} == pytest.approx(expected)
    assert {row["model_group"] for row in rows} == {"smart"}
    for row in rows:
        assert isinstance(row["metadata"], dict)
        assert row["metadata"]["spend_logs_metadata"]["slo_router"]["deployment"] == row["model_id"]
    total_usd = sum(expected.values())
    spend_usd = _eventually(lambda: spend if (spend := platform.spend_usd(key)) > 0.999 * total_usd else None)
    assert spend_usd == pytest.approx(total_usd)

    assert {record["key_hash"] for record in records} == {row["api_key"] for row in rows}


def _cost_usd(deployment: str, prompt_tokens: int, completion_tokens: int) -> float:
    return (prompt_tokens + 2 * completion_tokens) * USD_PER_TOKEN[deployment]


def _streamed_cost_usd(platform: Platform, key: str, min_quality: str) -> dict[str, float]:
    with platform.openai_client(key) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="smart",
            messages=[{"role": "user", "content": ASK}],
            extra_headers={"x-slo-min-quality": min_quality},
            stream=True,
            stream_options={"include_usage": True},
        )
        usages = [chunk.usage for chunk in raw.parse() if chunk.usage is not None]
    selected = raw.headers["x-slo-selected-model"]
    return {selected: _cost_usd(selected, usages[-1].prompt_tokens, usages[-1].completion_tokens)}


@pytest.fixture(scope="module")
def reader(platform: Platform) -> str:
    """The URL of a user that may read the columns of the spend logs that hold no text, and nothing else."""
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    with psycopg.connect(platform.database, autocommit=True) as connection:
        connection.execute("create role reader login; create role stranger login")
        connection.execute(f'grant select ({columns}) on "LiteLLM_SpendLogs" to reader')
    return platform.database.replace("litellm@", "reader:very-secret@")


def test_what_routing_would_have_saved_is_told_from_the_proxys_own_spend_logs(
    platform: Platform, reader: str, tmp_path: Path
) -> None:
    """`tiny` costs a fiftieth of `large`, per prompt and per answer token."""
    key = platform.key(key_alias="estimated")
    for body in ({}, {"stream": True}, {"messages": [{"role": "user", "content": f"{ASK} {ASK}"}]}):
        assert platform.ask(key, {"x-slo-min-quality": "0.9"}, **body).status_code == httpx.codes.OK
    platform.ask(key, model="no such model")
    rows = _eventually(lambda: rows if len(rows := platform.spend_logs(key)) == 4 else None)
    (tmp_path / "spend.json").write_text(json.dumps(rows), encoding="utf-8")
    for source in ((reader,), (str(tmp_path / "spend.json"),), (platform.database, "--categorize")):
        done = _estimate(*source, "--key-alias", "estimated", "--candidate", "tiny=0.1/0.2", "--json")
        assert done.exit_code == 0, done.stderr
        made = json.loads(done.stdout)
        assert (made["rows"], made["requests"]) == (4, 3)
        assert made["spent_usd"] == pytest.approx(sum(float(str(row["spend"])) for row in rows))
        shown, _, most = made["savings"]
        assert (shown["saved_share"], most["saved_share"]) == (0.0, pytest.approx(0.98))
        assert {part["name"] for part in made["tasks"]} == {"summarization"}  # as the plugin noted
        assert [one["why"] for one in made["unmoved"]] == ["failed"]
        assert ASK not in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "reader:",
            "stranger:",
            'this user may not read LiteLLM_SpendLogs, expected: grant select on "LiteLLM_SpendLogs"',
        ),
        ("/litellm", "/postgres", "no table LiteLLM_SpendLogs, expected the database of a LiteLLM proxy"),
        ("/litellm", "/nowhere", "has no such database"),
        ("reader:", "nobody:", "knows no such user"),
        ("@127.0.0.1", "@no-such-host.invalid", "is no host that is known here"),
        ("very-secret@127.0.0.1", "very-secret/@127.0.0.1", "not understood"),
        ("/litellm", "/litellm?connection_limit=10&pool_timeout=60&schema=elsewhere", "no table LiteLLM_SpendLogs"),
    ],
)
def test_a_database_that_cannot_be_read_is_named_without_its_password(
    reader: str, old: str, new: str, said: str
) -> None:
    done = _estimate(reader.replace(old, new, 1))
    assert done.exit_code == 1
    assert said in done.stderr
    assert "very-secret" not in done.stdout + done.stderr


def _estimate(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, ["estimate", *words])


def test_no_key_sees_anything_of_another(platform: Platform) -> None:
    """Two keys at the same time: each is routed by its own SLO, and no header names the other or a secret."""
    limits = {"min_quality": {"min": 0.9}}
    secrets = {"alias-of-one", "team-of-one", "note-of-one"}
    team = platform.team(team_alias="team-of-one", metadata={"slo_limits": limits, "note": "note-of-one"})
    one = platform.key(key_alias="alias-of-one", team_id=team, metadata={"slo": {"cost_per_1k": 0.02}})
    two = platform.key()
    with ThreadPoolExecutor(8) as pool:
        ones = [pool.submit(platform.ask, one, {"x-slo-min-quality": "0.1"}) for _ in range(20)]
        twos = [pool.submit(platform.ask, two) for _ in range(20)]
    assert {_decided(future.result()) for future in ones} == {("large", "met", "min_quality")}
    assert {_decided(future.result()) for future in twos} == {("small", "met", None)}
    ports = {str(endpoint.port) for endpoint in platform.handles}
    for future in twos:
        of_ours = {name: text for name, text in future.result().headers.items() if name.startswith("x-slo-")}
        assert not [word for word in secrets | ports | {one, two, team} if word in str(of_ours)]


def test_a_key_rates_its_own_requests_and_no_others(platform: Platform) -> None:
    """Whoever may chat may rate, with an ordinary key of no role."""
    own, other = platform.key(models=["smart"]), platform.key(models=["smart"])
    request_id = platform.ask(own).json()["id"]

    def rated(key: str, request: str = request_id) -> int:
        return platform.call("/slo-router/feedback", key, {"request_id": request, "thumbs": "up"}).status_code

    _eventually(lambda: None if rated(other) == httpx.codes.NOT_FOUND else True)  # its record is written
    assert rated(other) == httpx.codes.FORBIDDEN
    assert rated("sk-nobody") == httpx.codes.UNAUTHORIZED
    assert rated(own, "chatcmpl-nobody") == httpx.codes.NOT_FOUND
    assert rated(own) == httpx.codes.OK
    assert rated(own) == httpx.codes.CONFLICT
