"""Shadow evaluation on two workers of the stock proxy: answers are compared after they went out, within a budget.

Each group has a cheap deployment whose typed quality passes the floor, and a dear one that was graded and whose answers
say `MARKED`. The fair judge prefers the marked answer, the biased judge the first one.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import httpx
import pytest
import redis
from typer.testing import CliRunner

from evaluation.shared.stock_proxy import StockProxy
from evaluation.shared.valkey_server import ValkeyServer
from slo_router.operator.cli import app
from tests.e2e.conftest import publish_one
from tests.shared.days import stay_within_a_day
from tests.shared.particular_server import Particular, Request, particular

PREFIX, FLOOR, WORKERS = "paired:", 0.8, 2
USD = {"cheap": 1e-6, "dear": 1e-5, "judge": 2e-6}  # per token of prompt and of answer
TIGHT_USD = 0.0145  # a day: a second answer reserves about 0.011, and costs 0.0006
USAGE = {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60}
WITHIN_S = 200.0  # a worker makes one comparison at a time, and reweighs once a minute
QUIET_S = 6.0  # longer than an answer waits for its comparison


def says(text: str) -> bytes:
    message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = json.dumps(
        {"id": f"chatcmpl-{time.time_ns()}", "object": "chat.completion", "choices": [message], "usage": USAGE}
    )
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return f"{head}{body}".encode()


def judges(one: Request) -> bytes:
    """The fair judge, which prefers the marked answer."""
    a, b = ("MARKED" in text for text in re.findall(r"<answer_\w>(.*?)</answer_\w>", str(one.body), re.DOTALL))
    return says(f"Because. Verdict: {'tie' if a == b else 'A' if a else 'B'}")


@dataclass(frozen=True)
class Compared:
    """The running parts."""

    proxy: StockProxy
    client: redis.Redis
    servers: dict[str, Particular]

    def ask(self, group: str, text: str, headers: dict[str, str] | None = None, **body: object) -> httpx.Response:
        asked = {"model": group, "messages": [{"role": "user", "content": text}], "max_tokens": 20, **body}
        named = {**self.proxy.auth, "x-slo-category": "chat", **(headers or {})}
        answer = httpx.post(f"{self.proxy.url}/v1/chat/completions", json=asked, headers=named, timeout=60)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer

    def heard(self, name: str, text: str) -> int:
        """How many requests with this text a server got."""
        return sum(text in str(one.body) for one in list(self.servers[name].requests))

    def status(self, group: str) -> dict[str, Any]:
        return next(one for one in json.loads(self.shown("--json"))["paired"] if one["group"] == group)

    def shown(self, *options: str) -> str:
        """What `slo-router status` prints. On a busy machine Redis may answer late."""
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
            result = runner.invoke(app, ["status", "--config", str(self.proxy.config_path), *options])
            if result.exit_code == 0:
                return result.stdout
            assert time.monotonic() < deadline_s, result.output

    @property
    def outcomes(self) -> list[str]:
        """What became of the drawn answers, by LiteLLM's metrics."""
        page = httpx.get(f"{self.proxy.url}/metrics/", headers=self.proxy.auth, timeout=60).text
        return [line for line in page.splitlines() if line.startswith("slo_router_comparisons_total{")]

    def until(self, holds: Callable[[], bool]) -> None:
        """Sends requests until the condition holds."""
        deadline_s = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline_s, self.outcomes
            time.sleep(0.3)


def entry(group: str, name: str, server: Particular) -> dict[str, object]:
    params = {
        "model": f"openai/{name}",
        "api_base": server.api_base,
        "api_key": "none",
        "input_cost_per_token": USD[name],
        "output_cost_per_token": USD[name],
    }
    quality = {"slo_router": {"quality": 0.85}} if name == "cheap" else {}
    return {"model_name": group, "litellm_params": params, "model_info": {"id": f"{group}-{name}", **quality}}


def paired(
    judge: str | None, usd_per_day: float = 10.0, control_share: float = 0.0, grader: str | None = None
) -> dict[str, object]:
    tells = {"judge": judge} if grader is None else {"grader": grader}
    asked = {**tells, "usd_per_day": usd_per_day, "share": 1.0, "control_share": control_share}
    return {"min_quality": FLOOR, "trial_share": 0, "shadow_evaluation": asked}


@pytest.fixture(scope="module")
def running(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    answers: dict[str, Callable[[Request], bytes]] = {
        "cheap": lambda _: says("plain"),
        "dear": lambda one: says('{"n": 1}' if "json_schema" in str(one.body) else "MARKED"),
        "fair": judges,
        "biased": lambda _: says("Verdict: A"),
    }
    with ExitStack() as stack:
        servers = {name: stack.enter_context(particular(answer)) for name, answer in answers.items()}
        groups = {
            "learns": paired("fair"),
            "tight": paired("fair", TIGHT_USD),
            "control": paired("biased", control_share=1.0),
            "private": paired("fair"),
            "nobody": paired("fair"),
            "schema": paired(None, grader="schema"),
        }
        document = {
            "model_list": [
                *(entry(group, name, servers[name]) for group in groups for name in ("cheap", "dear")),
                *({**entry(name, "judge", servers[name])} for name in ("fair", "biased")),
            ],
            "litellm_settings": {"callbacks": ["prometheus", "slo_router.proxy.callback"]},
            "callback_settings": {
                "slo_router": {
                    "redis_url": valkey.url,
                    "key_prefix": PREFIX,
                    "refresh_interval_s": 0.2,
                    "groups": groups,
                }
            },
            "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        }
        client = redis.Redis.from_url(valkey.url, decode_responses=True)
        for group in groups:
            graded = {"quality_score": 0.95, "quality_n": 1_000, "quality_timestamp": time.time()}
            publish_one(client, PREFIX, f"{group}-dear", "large", graded)
        with StockProxy(document, tmp_path_factory.mktemp("paired"), workers=WORKERS) as proxy:
            yield Compared(proxy, client, servers)


def selected(answer: httpx.Response) -> str:
    return answer.headers["x-slo-selected-model"]


def test_answers_that_lose_take_traffic_off_who_gave_them(running: Compared) -> None:
    assert selected(running.ask("learns", "first of all")) == "learns-cheap"
    running.until(lambda: selected(running.ask("learns", "learns")) == "learns-dear")
    assert running.status("learns")["comparisons"] > 0
    running.until(lambda: any('group="learns",outcome="worse"' in line for line in running.outcomes))


def test_answers_that_break_the_schema_lose_without_a_judge(running: Compared) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "required": ["n"]}}}
    running.until(lambda: selected(running.ask("schema", "in a form", response_format=form)) == "schema-dear")
    assert running.heard("fair", "in a form") == 0
    running.until(lambda: any('group="schema",outcome="worse"' in line for line in running.outcomes))
    assert (running.status("schema")["grader"], running.status("schema")["judge"]) == ("schema", None)


def test_comparisons_are_nobodys_requests(running: Compared) -> None:
    running.client.xtrim(f"{PREFIX}slo_router:requests", maxlen=0)
    asked = itertools.count()

    def compared() -> bool:
        running.ask("nobody", f"number {next(asked)}")
        return running.heard("fair", "number") >= 4

    running.until(compared)
    time.sleep(QUIET_S)
    rows = cast("list[tuple[str, dict[str, str]]]", running.client.xrange(f"{PREFIX}slo_router:requests"))
    records = [json.loads(row["record"]) for _, row in rows]
    records = [
        one for one in records if one["model_group"] not in ("learns", "schema")
    ]  # without late records of the tests before
    assert [one["model_group"] for one in records] == ["nobody"] * next(asked)
    assert {one["deployment"] for one in records} == {"nobody-cheap"}


@pytest.mark.parametrize(
    ("text", "headers", "body"),
    [("by header", {"x-slo-private": "true"}, {}), ("by field", {}, {"metadata": {"slo_private": True}})],
)
def test_a_private_request_is_seen_by_nobody_else(
    running: Compared, text: str, headers: dict[str, str], body: dict[str, object]
) -> None:
    def compared() -> bool:
        running.ask("private", f"private {text}", headers, **body)
        running.ask("private", f"open {text}")
        return running.heard("fair", f"open {text}") >= 2

    running.until(compared)
    time.sleep(QUIET_S)
    assert running.heard("cheap", f"private {text}") > 0
    assert [running.heard(name, f"private {text}") for name in ("dear", "fair")] == [0, 0]


def test_own_pairs_show_that_a_judge_prefers_what_stands_first(running: Compared) -> None:
    def compared() -> bool:
        running.ask("control", "which")
        return bool(running.status("control")["control_first"] >= 4)

    running.until(compared)
    found = running.status("control")
    assert (found["control_second"], found["control_tie"], found["comparisons"]) == (0, 0, 0)
    assert running.heard("dear", "which") == 0
    assert re.search(r"control .* biased .* 100 % .* 0 % .* 0 %", running.shown())


def test_two_workers_keep_the_budget_of_a_day_together(running: Compared) -> None:
    stay_within_a_day(100.0)

    def is_used_up() -> bool:
        running.ask("tight", "tight")
        assert paid_usd(running) <= TIGHT_USD
        return any('group="tight",outcome="over_budget"' in line for line in running.outcomes)

    running.until(is_used_up)
    time.sleep(QUIET_S)
    before = paid_usd(running)
    assert 0 < before <= running.status("tight")["spent_usd"] * 1.001 <= TIGHT_USD * 1.001
    for _ in range(10):
        running.ask("tight", "tight")
    time.sleep(QUIET_S)
    assert paid_usd(running) <= TIGHT_USD


def paid_usd(running: Compared) -> float:
    """The USD paid, by the requests that the servers got."""
    tokens = USAGE["total_tokens"]
    return tokens * (running.heard("dear", "tight") * USD["dear"] + running.heard("fair", "tight") * USD["judge"])
