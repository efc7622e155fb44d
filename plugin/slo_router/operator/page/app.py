"""The page as a Starlette application.

    /            share, cost, SLO, predictions      /quality        qualities and their evidence
    /decisions   the last decisions                 /decision?id=…  one decision, with every candidate
    /what-if     a form that decides now

All links are relative, so the page works under any path of a reverse proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from slo_router.errors import SettingsError
from slo_router.operator.commands.running import Running, running
from slo_router.operator.page import reading, tables, what_if, why
from slo_router.operator.page.access import Access
from slo_router.operator.page.entrance import Entrance
from slo_router.operator.page.guard import Guard
from slo_router.operator.page.rendering import Templates, read_form
from slo_router.operator.replay.again import decided_again
from slo_router.operator.replay.explanation import explain
from slo_router.operator.replay.recorded import Recorded
from slo_router.operator.reporting.page import plots

WINDOWS = {"5m": ("5 minutes", 300), "1h": ("1 hour", 3_600), "24h": ("24 hours", 86_400)}
MOST_DECISIONS = 50
REFRESH_S = 10
MOST_FORM = 16_000_000  # bytes; a prompt of a million tokens, percent-encoded


def make_app(source: reading.Source, access: Access) -> Starlette:
    """The page as an application."""
    templates = Templates()
    page, entrance = Page(source, templates), Entrance(access, templates)
    routes = [
        Route("/", page.now),
        Route("/decisions", page.decisions),
        Route("/decision", page.decision),
        Route("/quality", page.quality),
        Route("/what-if", page.what_if, methods=["GET", "POST"]),
        Route("/login", entrance.login, methods=["GET", "POST"]),
        Route("/logout", entrance.logout, methods=["POST"]),
        Route("/api/plugin-manifest", entrance.manifest),
        Route("/api/plugin-auth", entrance.plugin_auth, methods=["POST"]),
        Route("/style.css", _file("style.css", "text/css")),
        Route("/page.js", _file("page.js", "text/javascript")),
        Route("/icon.svg", _file("icon.svg", "image/svg+xml")),
        Route("/healthz", lambda _: PlainTextResponse("ok")),
    ]
    guard = Middleware(Guard, access=access, ask_to_log_in=entrance.ask_to_log_in)
    handlers = {SettingsError: page.problem, HTTPException: page.refusal}
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers)


class Page:
    """The routes that need access. Routes that read Redis are plain functions: Starlette runs them in threads."""

    def __init__(self, source: reading.Source, templates: Templates) -> None:
        self._source, self._templates = source, templates

    def now(self, request: Request) -> Response:
        """Share and cost, the SLO, and the predictions."""
        label, window_s = WINDOWS.get(request.query_params.get("window", ""), WINDOWS["1h"])
        live = self._running()
        found = reading.read_now(live.settings, window_s)
        report = found.report
        parts = [tables.deployments(found), tables.attainment("category", report.categories)]
        if len(report.teams) > 1:
            parts.append(tables.attainment("team", report.teams))
        return self._templates.show(
            "now.html.j2",
            now=found,
            off=sorted(live.off),
            notes=live.notes,
            most=reading.MOST_RECORDS,
            window=label,
            windows=[(name, text, text == label) for name, (text, _) in WINDOWS.items()],
            refresh_s=REFRESH_S,
            plots=plots(report.hours),
            parts=[*parts, tables.expectations(found)],
        )

    def decisions(self, request: Request) -> Response:
        """The last decisions."""
        broken_only = request.query_params.get("slo") == "broken"
        found = reading.latest_decisions(self._running().settings, MOST_DECISIONS, broken_only=broken_only)
        return self._templates.show("decisions.html.j2", table=why.decisions(found), broken_only=broken_only)

    def decision(self, request: Request) -> Response:
        """One decision, with every candidate."""
        request_id = request.query_params.get("id", "").strip()
        live = self._running()
        record = reading.find(live.settings, request_id) if request_id else None
        if record is None or record.decision is None:
            because = "no record of it" if record is None else "LiteLLM chose; there was no decision by SLO"
            raise HTTPException(404, f"{request_id!r}: {because}")
        made = explain(record.decision, record.slo)
        facts = [*why.facts(made), *why.outcome(record), ("Decided again", _again(record, live))]
        return self._templates.show("decision.html.j2", facts=facts, table=why.candidates(made))

    def quality(self, _: Request) -> Response:
        """The qualities of every deployment and category."""
        found = reading.read_now(self._running().settings, WINDOWS["24h"][1])
        table = tables.qualities(found.report.quality, found.deployments)
        return self._templates.show("quality.html.j2", table=table, most=reading.MOST_RECORDS)

    async def what_if(self, request: Request) -> Response:
        """The form, and the decision for it."""
        form = await read_form(request, MOST_FORM) if request.method == "POST" else None
        return await run_in_threadpool(self._what_if, form)

    def problem(self, _: Request, error: Exception) -> Response:
        """The answer where the YAML is unusable or Redis is away."""
        return self._templates.show("problem.html.j2", 503, title="Nothing to show", message=str(error))

    def refusal(self, _: Request, error: Exception) -> Response:
        """The answer for an unknown page or record, or for too long a form."""
        status, text = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
        return self._templates.show("problem.html.j2", status, title=str(status), message=text)

    def _what_if(self, form: dict[str, str] | None) -> Response:
        settings = self._running().settings
        made, wrong = None, ""
        if form is not None:
            try:
                made = what_if.decide(settings, form)
            except SettingsError as error:
                wrong = str(error)
        return self._templates.show(
            "what_if.html.j2",
            422 if wrong else 200,
            form=form or {},
            wrong=wrong,
            groups=what_if.groups(settings),
            categories=what_if.categories(settings),
            slo_inputs=what_if.SLO_INPUTS,
            facts=None if made is None else why.facts(made),
            table=None if made is None else why.candidates(made),
        )

    def _running(self) -> Running:
        return running(self._source.settings())


def _again(record: Recorded, live: Running) -> str:
    """Whether the policy of the decision would decide the same again, in words."""
    decision = record.decision
    if decision is None or record.model_group not in live.settings.plugin.groups:
        return f"no: the YAML does not manage {record.model_group}"
    groups = live.policies.get(decision.policy)
    if groups is None or record.model_group not in groups:
        return f"no: policy {decision.policy} is neither the YAML's nor one of the last that were published"
    facts = {one.facts.deployment_id: one.facts for one in live.settings.deployments}
    return decided_again(record, decision, groups[record.model_group], facts)[1]


def _file(name: str, kind: str) -> Callable[[Request], Response]:
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    return lambda _: Response(text, media_type=kind)
