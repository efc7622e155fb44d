"""Random header, body and key metadata values against the real proxy: always a 400 that names the field, or an answer.

    python -m evaluation.robustness.fuzz [--requests 10000] [--seed 0]

Each request carries a few values, sensible or absurd, in places where an SLO can be stated, on one of the routes. Two
outcomes are right: HTTP 400 whose message names a field of the request, and HTTP 200 with an `x-slo-decision` whose
reason is no failed decision. After any other outcome, the same request goes to a group that the plugin does not manage.
If LiteLLM refuses it there with the same status, the refusal is LiteLLM's own and is counted separately. Otherwise the
outcome is a failure and is printed with its input.

The interpreter itself may crash under LiteLLM after some thousand requests. This was seen twice on Python 3.11.7: a
segmentation fault in `ContextVar.set`, called by LiteLLM's logging thread, as CPython's issue 148891 describes. A crash
is printed with the place where it happened. A new proxy then gets the requests that had no answer.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import typer

from evaluation.emulator import Handle, instant, running_endpoints
from evaluation.robustness.fuzz_cases import ALIAS, MANAGED, Case, cases
from evaluation.shared import proxy_config
from evaluation.shared.results import Save, save
from evaluation.shared.stock_proxy import StockProxy

CONCURRENCY = 8
MAX_CRASHES = 8
UNMANAGED = "plain"
REFUSED, FAILED = "400 that names the field", "FAILED"
LITELLMS_OWN = "LiteLLM's own refusal, the same without the plugin"
AUTHENTICATION = '''
import base64
import json

from litellm.proxy._types import UserAPIKeyAuth


async def authenticate(request, api_key):
    """A key says itself what metadata it and its team have."""
    said = json.loads(base64.urlsafe_b64decode(api_key.removeprefix("sk-")))
    return UserAPIKeyAuth(api_key="sk-fuzz", **said)
'''
_REFUSAL = re.compile(
    r"(x-slo-[a-z0-9-]+|metadata\.slo|user_slo|key metadata|team metadata).{0,300}is not valid, expected"
)


@dataclass
class Report:
    """The number of requests with each outcome, and each distinct failure with the first input that led to it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    litellms_own: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Case] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)
    unanswered: list[Case] = field(default_factory=list)

    def fail(self, what: str, case: Case) -> None:
        """Counts a wrong outcome."""
        self.outcomes[FAILED] += 1
        self.failures.setdefault(what, case)


def bearer(key: Mapping[str, object]) -> str:
    """A virtual key that contains these fields; see AUTHENTICATION."""
    return "sk-" + base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


async def fuzz(url: str, requests: Iterable[Case], authorization: Callable[[Case], str], report: Report) -> None:
    """Sends all requests to the proxy at `url`, a few at a time, and adds their outcomes to the report."""
    waiting = iter(requests)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def worker() -> None:
            for case in waiting:
                try:
                    await _sort(client, case, authorization, report)
                except httpx.HTTPError:  # the proxy hangs or is gone
                    report.unanswered.append(case)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(worker())


async def _sort(client: httpx.AsyncClient, case: Case, authorization: Callable[[Case], str], report: Report) -> None:
    answer = await _send(client, case, authorization(case))
    reason = answer.headers.get("x-slo-reason", "")
    decision = answer.headers.get("x-slo-decision")
    if answer.status_code == httpx.codes.OK and decision is not None and "failed" not in reason:
        report.outcomes[f"200, {decision}"] += 1
    elif answer.status_code == httpx.codes.BAD_REQUEST and names_a_field(answer.text, case):
        report.outcomes[REFUSED] += 1
    else:
        control = await _send(client, case._replace(body={**case.body, "model": UNMANAGED}), authorization(case))
        if answer.is_error and control.status_code == answer.status_code:
            report.outcomes[LITELLMS_OWN] += 1
            report.litellms_own[f"{answer.status_code} {_gist(answer)}"] += 1
        else:
            what = f"{answer.status_code} {decision} {reason} {_gist(answer) if answer.is_error else ''}"
            report.fail(f"{what} (without the plugin {control.status_code})", case)


async def _send(client: httpx.AsyncClient, case: Case, key: str) -> httpx.Response:
    fixed = [("authorization", f"Bearer {key}".encode()), ("content-type", b"application/json")]
    headers = [(name.encode(), value) for name, value in (*fixed, *case.headers)]
    return await client.post(case.path, content=json.dumps(case.body).encode(), headers=headers)


def names_a_field(text: str, case: Case) -> bool:
    """Whether a refusal names a place of an SLO that this request used."""
    found = _REFUSAL.search(text)
    if found is None:
        return False
    used = {name for name, _ in case.headers} | ({"user_slo"} if "user_slo" in case.body else set())
    used |= {"metadata.slo"} if "metadata" in case.body else set()
    used |= {"key metadata"} if "metadata" in case.key else set()
    used |= {"team metadata"} if "team_metadata" in case.key else set()
    return found[1] in used


def _gist(answer: httpx.Response) -> str:
    said = re.search(r'"message": ?"(.*?)"', answer.text)
    text = re.sub(r"\d+", "#", said[1] if said else answer.text)
    return re.sub(r"got an? \w+", "got …", text)[:120].replace("\n", " ")


def document(handles: Iterable[Handle]) -> dict[str, object]:
    """The proxy's YAML: a managed and an unmanaged group on the same endpoints; keys contain their own metadata."""
    entries = [
        proxy_config.deployment(
            group, f"{group}-{handle.name}", handle.api_base, model=handle.name, usd=(1e-7, 2e-7), quality=0.7
        )
        for group in (MANAGED, UNMANAGED)
        for handle in handles
    ]
    return {
        **proxy_config.document(entries, {MANAGED: {"min_quality": 0.5}}),
        "router_settings": {"disable_cooldowns": True, "model_group_alias": {ALIAS: MANAGED}},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY", "custom_auth": "fuzz_auth.authenticate"},
    }


def print_report(report: Report) -> None:
    """Prints the counts, LiteLLM's own refusals, the crashes and the failures."""
    for outcome, count in report.outcomes.most_common():
        print(f"{count:7,}  {outcome}")
    for gist, count in report.litellms_own.most_common():
        print(f"         LiteLLM's own, {count}: {gist}")
    for crash in report.crashes:
        print(f"the proxy's interpreter crashed; a new one got the requests that had no answer:\n{crash}")
    for what, case in report.failures.items():
        print(f"FAILED {what}\n  {case!r:.600}")


def figures(report: Report) -> dict[str, int]:
    """For docs/evidence.md."""
    return {
        "requests": report.outcomes.total(),
        "refused": report.outcomes[REFUSED],
        "routed": sum(count for outcome, count in report.outcomes.items() if outcome.startswith("200")),
        "litellms_own": report.outcomes[LITELLMS_OWN],
        "litellms_own_500": sum(count for gist, count in report.litellms_own.items() if gist.startswith("500")),
        "failed": report.outcomes[FAILED],
        "crashes": len(report.crashes),
    }


def run(config: Mapping[str, object], directory: Path, waiting: list[Case]) -> Report:
    """Sends all requests. If the proxy's interpreter crashes, a new proxy gets the requests that had no answer."""
    report = Report()
    for start in range(1 + MAX_CRASHES):
        place = directory / str(start)
        place.mkdir()
        (place / "fuzz_auth.py").write_text(AUTHENTICATION, encoding="utf-8")
        with StockProxy(config, place, environment={"PYTHONFAULTHANDLER": "1"}) as proxy:
            asyncio.run(fuzz(proxy.url, waiting, lambda case: bearer(case.key), report))
            crash = re.search(r"Fatal Python error(?s:.*?)\n  File .*?\n  File .*?\n", proxy.log)
        waiting, report.unanswered = report.unanswered, []
        if crash is not None and waiting:
            report.crashes.append(crash[0])
        elif waiting:  # the proxy hung, or ended for another reason
            break
        else:
            return report
    for case in waiting:
        report.fail("no answer", case)
    return report


def main(
    requests: Annotated[int, typer.Option(help="How many requests.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the random values.")] = 0,
    *,
    is_saved: Save = False,
) -> None:
    """Exit status 1 if any request ended in another way than a 400 that names the field or a routed answer."""
    with (
        tempfile.TemporaryDirectory(prefix="slo-") as name,
        running_endpoints([instant("small"), instant("large")]) as handles,
    ):
        report = run(document(handles), Path(name), list(cases(requests, seed)))
    print_report(report)
    if is_saved:
        save(figures(report))
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    typer.run(main)
