"""Where a conversation is and how much of it is cached there: by its beginning, else by its session, and by usage."""

from __future__ import annotations

import pytest

from slo_router.contract.record import RequestRecord
from slo_router.request.conversations import NO_SESSION, NOTHING_CACHED, fingerprints
from slo_router.worker.attempt import Attempt
from slo_router.worker.learning.homes import Homes
from slo_router.worker.records import build_record
from slo_router.worker.trace import Trace
from tests.shared.builders import NOW_S, REQUEST

FIRST = [{"role": "user", "content": "Who wrote Faust?"}]
NEXT = [*FIRST, {"role": "assistant", "content": "Goethe."}, {"role": "user", "content": "When?"}]
ELSE = [{"role": "user", "content": "A summary of what was said: …"}]
SESSION, OTHER_SESSION = 7, 8


def told(cached: int | None, written: int | None = None, prompt_tokens: int = 1_000) -> RequestRecord:
    details = {"cached_tokens": cached, "cache_creation_tokens": written}
    usage = {"usage_object": {"prompt_tokens_details": details}}
    payload = {"status": "success", "prompt_tokens": prompt_tokens, "completion_tokens": 9, "metadata": usage}
    return build_record(payload | {"endTime": NOW_S}, Trace("acompletion", NOW_S))


def turn(
    homes: Homes, messages: list[dict[str, str]], at: str, record: RequestRecord, session: int = NO_SESSION
) -> tuple[str, int]:
    """One turn, answered by `at`. Returns where the conversation was expected, and its cached tokens."""
    trace = Trace("acompletion", NOW_S, beginnings=fingerprints(messages), attempts=[Attempt(at, is_sent=True)])
    found = homes.expected(trace, session, NOW_S)
    homes.learn(trace, REQUEST, record)
    return found.deployment_id, found.tokens


def test_a_conversation_is_expected_whole_until_its_deployment_reports_less() -> None:
    homes = Homes()
    assert turn(homes, FIRST, "a", told(None)) == ("", 0)
    assert turn(homes, NEXT, "a", told(None)) == ("a", 1_000)  # assumed, because no usage reports it
    for _ in range(8):
        found = turn(homes, NEXT, "a", told(0))
    assert found[0] == "a"
    assert found[1] < 250  # usage said eight times in a row: nothing was cached


def test_who_says_what_it_wrote_to_its_cache_has_just_that() -> None:
    homes = Homes()
    turn(homes, FIRST, "a", told(100, 300, prompt_tokens=2_000))  # two reported tokens for each estimated
    assert turn(homes, NEXT, "a", told(None)) == ("a", 200)
    turn(homes, ELSE, "a", told(0, 0))
    assert turn(homes, ELSE, "a", told(None)) == ("a", 0)  # it was at `a`, and `a` kept nothing


def test_a_session_tells_where_the_last_turn_was_and_its_reports_what_is_found_there() -> None:
    homes = Homes()
    assert turn(homes, FIRST, "a", told(0), SESSION) == ("", 0)
    assert turn(homes, ELSE, "a", told(400), SESSION) == ("a", 0)  # cut: what is cached is unknown
    assert turn(homes, [*ELSE, *ELSE], "a", told(1_000), SESSION) == ("a", 1_000)  # by its beginning
    other = [{"role": "user", "content": "Another summary."}]
    assert turn(homes, other, "b", told(0), SESSION) == ("a", 400)
    assert turn(homes, [{"role": "user", "content": "Moved."}], "b", told(0), SESSION) == ("b", 0)
    assert turn(homes, [{"role": "user", "content": "Who?"}], "b", told(0), OTHER_SESSION) == ("", 0)


def test_a_broken_slo_frees_the_session_too() -> None:
    homes = Homes()
    turn(homes, FIRST, "a", told(0).model_copy(update={"slo_met": True}), SESSION)
    turn(homes, NEXT, "a", told(0).model_copy(update={"slo_met": False}), SESSION)
    assert turn(homes, ELSE, "b", told(0), SESSION) == ("", 0)


def test_an_answer_that_its_client_left_tells_where_the_prompt_is_and_nothing_of_the_cache() -> None:
    homes = Homes()
    left = told(0, 0, prompt_tokens=20).model_copy(update={"outcome": "disconnected", "ttft_ms": 5.0})  # its own count
    assert turn(homes, FIRST, "a", left, SESSION) == ("", 0)
    assert turn(homes, NEXT, "a", told(None), SESSION) == ("a", 1_000)
    assert turn(homes, ELSE, "a", left, SESSION) == ("a", 0)


def test_who_was_silent_until_its_client_left_may_have_signed_but_draws_no_retry() -> None:
    homes = Homes()

    def left(messages: list[dict[str, str]], at: str) -> None:
        homes.may_have_signed(
            Trace("acompletion", NOW_S, beginnings=fingerprints(messages), attempts=[Attempt(at, is_sent=True)]), NOW_S
        )

    left(ELSE, "a")
    assert turn(homes, ELSE, "a", told(None)) == ("a", 0)
    turn(homes, FIRST, "b", told(None))
    left(NEXT, "a")
    assert turn(homes, NEXT, "a", told(None)) == ("b", 1_000)


def test_what_others_told_of_conversations_and_sessions_counts_here() -> None:
    homes, other = Homes(), Homes()
    turn(homes, FIRST, "a", told(0), SESSION)
    conversations, caching = homes.export(NOW_S)
    assert isinstance(conversations, list)
    other.hear([list(entry) for entry in conversations], NOW_S)
    other.hear_caching([caching], {"a"}, NOW_S)
    assert turn(other, ELSE, "a", told(0), SESSION)[0] == "a"


@pytest.mark.parametrize("session", [NO_SESSION, SESSION])
def test_nothing_is_found_where_nothing_was(session: int) -> None:
    trace = Trace("acompletion", NOW_S)
    assert Homes().expected(trace, session, NOW_S) == NOTHING_CACHED
