"""`slo-router explain`: why a request went to its deployment, or where a prompt would go now."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Annotated

import msgspec
import typer

from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.settings.config import Settings, load_settings
from slo_router.errors import SettingsError
from slo_router.operator.commands.observer import decide_now
from slo_router.operator.commands.running import Policies, running
from slo_router.operator.commands.sources import LogFile, log_paths
from slo_router.operator.commands.terminal import (
    DEFAULT_CONFIG,
    UNKNOWN,
    AsJson,
    Config,
    console,
    make_table,
    number,
    percent,
    print_json,
    problems,
    redis_of,
    span,
    usd,
)
from slo_router.operator.replay.again import decided_again
from slo_router.operator.replay.explanation import IN_SHADOW, Explanation, explain_live
from slo_router.operator.replay.explanation import explain as explain_decision
from slo_router.operator.replay.recorded import Recorded
from slo_router.operator.reporting.graded import quality_in_words
from slo_router.operator.reporting.journal import find_files
from slo_router.operator.reporting.lookup import find_in_files, find_in_stream
from slo_router.quality.sources import IMPLICIT

RequestId = Annotated[str | None, typer.Argument(help="A response's `id`, as in its record.", show_default=False)]
Prompt = Annotated[str | None, typer.Option("--prompt", help="Decide for this prompt now, instead of an old request.")]
Slos = Annotated[
    list[str] | None,
    typer.Option("--slo", help="With --prompt: a field of the SLO, such as ttft_ms=300 or min_quality=0.8. Repeat it."),
]
GroupOf = Annotated[str | None, typer.Option("--group", help="With --prompt: the group, where there are several.")]
Category = Annotated[
    str | None, typer.Option("--category", help="With --prompt: the category; default: inferred from the prompt.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", help="With --prompt: the longest answer allowed.", min=1)
]


def explain(
    request_id: RequestId = None,
    *,
    prompt: Prompt = None,
    slo: Slos = None,
    group: GroupOf = None,
    category: Category = None,
    max_tokens: MaxTokens = None,
    log: LogFile = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Shows every candidate of one decision: its prediction, why it was not chosen, and by how much.

    With a request's id it shows the recorded decision, and decides it again from the record. With --prompt it shows the
    decision that would be made now, from the YAML and Redis.

    Example: slo-router explain chatcmpl-8f3a
    Example: slo-router explain --prompt "Summarize: ..." --slo ttft_ms=300 --slo min_quality=0.7
    """
    if (request_id is None) == (prompt is None):
        raise typer.BadParameter("expected either a request id or --prompt")
    with problems():
        settings = load_settings(config)
        if prompt is not None:
            asked = {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
            settings = running(settings).settings
            decision = asyncio.run(decide_now(settings, group, asked, slo or [], category))
            _show(explain_live(decision), {}, as_json=as_json)
            return
        record = _find(settings, request_id or "", log)
        if record.decision is None:
            raise SettingsError(f"{record.request_id}: LiteLLM chose {record.deployment}; there was no decision by SLO")
        made = explain_decision(record.decision, record.slo)
        own = {settings.plugin.policy: settings.plugin.groups}
        policies = running(settings).policies if log_paths(settings, log) is None else own
        _show(made, _outcome(record) | {"decided again": _again(settings, policies, record)}, as_json=as_json)


def _find(settings: Settings, request_id: str, log: LogFile) -> Recorded:
    paths = log_paths(settings, log)
    if paths is not None:
        newest_first = [file for path in paths for file in find_files(path)][::-1]
        record = find_in_files(newest_first, request_id)
    else:
        with redis_of(settings) as client:
            if client is None:
                raise SettingsError("no records: expected redis_url or log.jsonl_path in the YAML, or --log FILE")
            record = find_in_stream(client, settings.plugin.key_prefix + REQUESTS_STREAM, request_id)
    if record is None:
        raise SettingsError(f"{request_id!r}: no record of it, expected the id of a request that has ended")
    return record


def _again(settings: Settings, policies: Policies, record: Recorded) -> str:
    decision, group = record.decision, record.model_group
    if decision is None or group not in settings.plugin.groups:
        return f"no: the YAML does not manage {group}"
    groups = policies.get(decision.policy)
    if groups is None or group not in groups:
        return f"no: the YAML's policy is {settings.plugin.policy}, this was {decision.policy}; see `slo-router replay`"
    facts = {one.facts.deployment_id: one.facts for one in settings.deployments}
    return decided_again(record, decision, groups[group], facts)[1]


def _outcome(record: Recorded) -> dict[str, str]:
    kept = {True: "kept", False: "broken", None: "not measured"}[record.slo_met]
    return {
        "request": f"{record.request_id}, team {record.team_id or UNKNOWN}, key {record.key_alias or UNKNOWN}",
        "what came": f"{record.outcome} from {record.deployment}, {record.attempts} attempts, SLO {kept}",
        "measured": f"TTFT {number(record.ttft_ms)} ms, total {number(record.e2e_ms)} ms, {usd(record.cost_usd)}, "
        f"{record.prompt_tokens or UNKNOWN} + {record.completion_tokens or UNKNOWN} tokens",
    }


def _confidence(made: Explanation) -> str:
    """What `at least` means, where a candidate's quality was graded."""
    is_graded = any(line.predicted.quality_answers.keys() - {IMPLICIT} for line in made.candidates)
    return f"is at least its bound with {percent(made.quality_confidence, 0)} confidence" if is_graded else ""


def _show(made: Explanation, more: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(asdict(made)) | more)
        return
    asked = {name: value for name, value in msgspec.structs.asdict(made.slo).items() if value is not None}
    would = {name: f"+{value:.4g}" for name, value in made.would_do.items()}
    spread = made.cost_interval_usd
    size = f"{made.prompt_tokens:,} + {made.output_tokens:,} tokens"
    known = {
        "decision": f"{made.kind}: {made.deployment}; {made.reason}",
        "shadow": IN_SHADOW if made.shadow else "",
        "request is": f"{made.category} ({made.category_source}), about {size}",
        "SLO": ", ".join(f"{name} {value:g}" for name, value in asked.items()) or "none",
        "too tight by": ", ".join(f"{name} {value}" for name, value in would.items()),
        "nine in ten": "" if spread is None else f"cost {usd(spread[0])} to {usd(spread[1])}, by the answer's length",
        "P(SLO kept)": percent(made.probability) if made.probability is not None else "",
        "conversation": made.conversation,
        "quality": _confidence(made),
        "policy": made.policy,
    }
    for name, text in (known | more).items():
        if text:
            console.print(f"[bold]{name:14}[/]", end="")
            console.print(text, markup=False, highlight=False)
    columns = (">TTFT ms", ">total ms", ">answer", ">cost", ">quality")
    table = make_table("Candidates", "", "deployment", *columns, "basis", "why not")
    for line in made.candidates:
        one = line.predicted
        age = "" if one.age_s is None else f", {span(one.age_s)} old"
        times, tokens = (number(one.ttft_ms), number(one.e2e_ms)), number(one.output_tokens)
        evidence = (one.quality_bound, one.quality_answers, one.quality_at_s)
        numbers = (*times, tokens, usd(one.cost_usd), quality_in_words(one.quality, *evidence, time.time()))
        table.add_row("→" if line.is_chosen else "", line.deployment, *numbers, one.basis + age, line.verdict)
    console.print(table)
