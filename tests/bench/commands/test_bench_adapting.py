"""The command asks a server in the way that it accepts: other names, fewer fields, more room, after a restart."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from slo_bench.guard import guard
from slo_bench.guard.guard import Terms
from slo_bench.guard.held import met_outage
from slo_bench.load.plan import Limits, Selection, make_plan
from slo_bench.measure.stream import Sample
from slo_bench.measure.targets import Target
from slo_bench.prompts.workload import load_workload
from slo_bench.run.order import Order
from slo_bench.run.session import run
from slo_bench.store import Store
from slo_router.contract.settings.config import load_settings
from tests.bench.commanded import QUICK, bench, document, hashes
from tests.shared.particular_server import GOOD, HOLD, THOUGHT, Particular, Request, particular, refuse, whole
from tests.shared.scripted_server import DONE, chunk, delta, stream

Configure = Callable[..., str]


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> set[object]:
    """The run's senders that met an outage."""
    senders: set[object] = set()

    async def noticed(sample: Sample, target: Target) -> bool:
        if met := await met_outage(sample, target):
            senders.add(asyncio.current_task())
        return met

    monkeypatch.setattr(guard, "met_outage", noticed)
    return senders


def back(server: Particular, away: set[object], broken: int, after_s: float) -> None:
    """Restarts a server a while after all senders with broken requests have noticed that the server is gone."""
    deadline_s = time.monotonic() + 60
    while len(away) < broken and time.monotonic() < deadline_s:
        time.sleep(0.01)
    time.sleep(after_s)
    server.answers = lambda _: GOOD
    server.start()


def test_max_completion_tokens_is_sent_where_max_tokens_is_refused(configure: Configure, valkey_url: str) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with particular(lambda one: refuse(400, words) if "max_tokens" in one.body else GOOD) as server:
        result = bench("--config", configure(server.api_base), *QUICK, "--json")
        plain = sum("max_tokens" in body for body in server.bodies)
    found = document(result)
    assert (result.exit_code, found["results"][0]["errors"], found["results"][0]["inconclusive"]) == (0, {}, {})
    assert found["notes"] == {"small": ["max_tokens is refused: asked with max_completion_tokens"]}
    assert "max_tokens is refused" in result.stderr
    assert hashes(valkey_url)["metrics:small:ner"]["error_rate"] == "0"
    assert plain <= 4  # those on their way together; then it is known


@pytest.mark.parametrize("model", ["openai/gpt-5", "openai/o3-mini", "openrouter/openai/gpt-5-nano", "openai/o1"])
def test_models_that_are_known_to_refuse_it_are_never_asked_with_max_tokens(model: str, configure: Configure) -> None:
    with particular(lambda one: refuse(400, "Unsupported: max_tokens") if "max_tokens" in one.body else GOOD) as server:
        result = bench("--config", configure(server.api_base, model), *QUICK, "--no-publish")
        assert all("max_tokens" not in body and "max_completion_tokens" in body for body in server.bodies)
    assert result.exit_code == 0, result.output


def test_a_length_that_is_refused_under_both_names_is_asked_for_twice_and_no_more(configure: Configure) -> None:
    with particular(lambda _: refuse(400, "max_tokens is too large: 8")) as server:
        result = bench("--config", configure(server.api_base), *QUICK, "--concurrency", "1", "--no-publish")
        swapped = sum("max_completion_tokens" in body for body in server.bodies)
    assert swapped == 1
    assert "HTTP 400: max_tokens is too large: 8" in result.stderr


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_without_stream_options_is_asked_without(status: int, configure: Configure, valkey_url: str) -> None:
    error = {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}
    with particular(lambda one: refuse(status, error) if "stream_options" in one.body else GOOD) as server:
        result = bench("--config", configure(server.api_base, "mistral/mistral-small"), *QUICK, "--json")
    (row,) = document(result)["results"]
    assert (result.exit_code, row["errors"], row["completion_tokens"]) == (0, {}, 20)  # from the last chunk
    assert hashes(valkey_url)["metrics:small:ner"]["error_rate"] == "0"
    assert "stream_options is refused: asked without" in result.stderr


def test_without_stream_options_and_without_usage_tokens_are_unknown(configure: Configure) -> None:
    bare = whole(stream(chunk(delta(content="Yes.")), chunk(delta("stop")), DONE))
    with particular(lambda one: refuse(400, "stream_options?") if "stream_options" in one.body else bare) as server:
        (row,) = document(bench("--config", configure(server.api_base), *QUICK, "--no-publish", "--json"))["results"]
    assert (row["completion_tokens"], row["tpot_ms"], row["error_rate"]) == (None, None, 0)


def test_several_refusals_are_learned_one_after_another(configure: Configure) -> None:
    def picky(one: Request) -> bytes:
        refused = next((name for name in ("stream_options", "max_tokens") if name in one.body), None)
        return GOOD if refused is None else refuse(400, f"Unknown field {refused}")

    with particular(picky) as server:
        result = bench("--config", configure(server.api_base), *QUICK, "--no-publish", "--warmup", "0")
    assert result.exit_code == 0, result.output


def test_hidden_reasoning_gets_more_room(configure: Configure, valkey_url: str) -> None:
    def thinks(one: Request) -> bytes:
        return GOOD if int(str(one.body["max_tokens"])) > 500 else THOUGHT

    with particular(thinks) as server:
        result = bench("--config", configure(server.api_base), *QUICK, "--json")
    (row,) = document(result)["results"]
    assert (result.exit_code, row["errors"], row["inconclusive"], row["answers"]["failed"]) == (0, {}, {}, 0)
    assert "reasoning used up max_tokens: asked with 8 times as many" in result.stderr
    assert hashes(valkey_url)["metrics:small:ner"]["error_rate"] == "0"


def test_one_that_closes_every_connection_is_not_measured_until_it_has_answered(
    configure: Configure, valkey_url: str
) -> None:
    with particular(lambda _: HOLD) as server:
        result = bench("--config", configure(server.api_base), *QUICK)
        assert (hashes(valkey_url), "closed every connection" in result.stderr) == ({}, True)
        replies = iter([GOOD] * 3)
        server.answers = lambda _: next(replies, HOLD)
        bench("--config", configure(server.api_base), *QUICK)
    assert hashes(valkey_url)["metrics:small:ner"]["error_rate"] == "1"


def test_a_restart_in_the_middle_is_waited_for_and_counts_nowhere(
    configure: Configure, valkey_url: str, away: set[object]
) -> None:
    with particular(lambda _: GOOD) as server:

        def answer(_: Request) -> bytes:
            if len(server.requests) == 6:  # two first requests, one warm-up, two of the four
                server.stop()  # as if its process was killed
                threading.Thread(target=back, args=(server, away, 1, 1.2)).start()
                return HOLD
            return GOOD

        server.answers = answer
        began_s = time.monotonic()
        result = bench("--config", configure(server.api_base), *QUICK, "--concurrency", "1", "--json")
        all_s = time.monotonic() - began_s
    found = document(result)
    (row,) = found["results"]
    assert (result.exit_code, row["requests"], row["errors"], row["inconclusive"]) == (0, 4, {}, {}), result.output
    assert hashes(valkey_url)["metrics:small:ner"]["error_rate"] == "0"
    assert "cannot be reached any more: waits for it" in result.stderr
    told = re.fullmatch(r"was away for (\S+) s; what met that was sent again", found["notes"]["small"][0])
    assert told is not None
    assert row["wall_s"] + float(told[1]) <= all_s + 0.05  # the outage is taken off; it is told to a tenth


def test_requests_that_were_on_their_way_when_it_restarted_are_sent_again(
    configure: Configure, away: set[object]
) -> None:
    with particular(lambda _: GOOD) as server:
        begun = whole(stream(chunk(delta(content="Yes"))))[:-5]  # the stream has no end
        broken: list[Request] = []

        def answer(one: Request) -> bytes:
            if len(server.requests) > 8 and len(broken) < 3:
                broken.append(one)
                if len(broken) == 3:
                    server.stop()
                    threading.Thread(target=back, args=(server, away, 3, 0.0)).start()
                return begun
            return GOOD

        server.answers = answer
        result = bench(
            "--config", configure(server.api_base), *QUICK, "--requests", "12", "--concurrency", "3", "--json"
        )
    (row,) = document(result)["results"]
    assert (len(broken), row["requests"], row["errors"], row["inconclusive"]) == (3, 12, {}, {}), result.output


def test_one_that_stays_away_ends_its_measurement_with_what_it_has(configure: Configure, valkey_url: str) -> None:
    with particular(lambda _: GOOD) as server:

        def answer(_: Request) -> bytes:
            if len(server.requests) == 7:
                server.stop()
                return HOLD
            return GOOD

        server.answers = answer
        settings = load_settings(Path(configure(server.api_base)))
        plan = make_plan(settings.deployments, load_workload(None), Selection(4), None)
        order = Order(plan, Limits(1, 0), 60.0, Terms(most_away_s=0.6))
        outcome = run(order, Store(valkey_url), Console(file=StringIO()))
        server.start()
    assert "could not be reached any more for 0.6 s" in outcome.stopped["small"]
    counts = [(one.stats.requests, one.complete, one.stats.error_rate) for one in outcome.results]
    assert counts == [(4, True, 0), (2, False, 0)]  # what met the outage counts nowhere
    assert {fields["error_rate"] for fields in hashes(valkey_url).values()} == {"0"}


def test_a_setting_that_is_refused_is_dropped_only_where_litellm_would(configure: Configure) -> None:
    with particular(
        lambda one: refuse(400, "no reasoning_effort") if "reasoning_effort" in one.body else GOOD
    ) as server:
        kept = bench("--config", configure(server.api_base, reasoning_effort="low"), *QUICK)
        dropped = bench(
            "--config", configure(server.api_base, reasoning_effort="low", drop_params=True), *QUICK, "--json"
        )
    assert (kept.exit_code, "HTTP 400: no reasoning_effort" in kept.stderr) == (2, True)
    assert json.loads(dropped.stdout)["notes"] == {"small": ["reasoning_effort is refused: asked without"]}
