"""The pages of docs/ match the code: links, commands, options, configurations and generated tables."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml
from docs import generate_configuration
from pydantic import BaseModel
from typer.main import get_command

from slo_bench.cli import app as slo_bench
from slo_router.contract import ages, keys
from slo_router.contract.settings.config import parse_settings
from slo_router.contract.settings.deployments import price_map
from slo_router.decision.filters import FILTERS
from slo_router.latency import evidence
from slo_router.live import account, circuit, probes, state
from slo_router.operator.cli import app as slo_router
from slo_router.worker import probing
from tests.shared.repository import ROOT

DOCS = ROOT / "docs"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
ALERTS = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
PROGRAMS: dict[str, Any] = {"slo-router": get_command(slo_router), "slo-bench": get_command(slo_bench)}

each_page = pytest.mark.parametrize("name", PAGES)


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(language: str) -> list[tuple[str, str]]:
    found = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(name, block) for name, text in PAGES.items() for block in found.findall(text)]


def calls() -> list[tuple[str, str]]:
    """Every call of our programs on a page, in a block or in the text."""
    found = re.compile(r"(?:^|`)((?:slo-router|slo-bench) [a-z][^`\n]*)", re.MULTILINE)
    return sorted({(name, call.strip()) for name, text in PAGES.items() for call in found.findall(text)})


def test_the_ages_of_evidence_are_those_of_the_code() -> None:
    table = {line.split(" | ")[0]: line for line in PAGES["how-a-decision-is-made.md"].splitlines() if " | " in line}
    for row, says in (
        ("| circuit", f"{circuit.FIRST_PAUSE_S:g} to {circuit.LONGEST_PAUSE_S:g} s"),
        ("| doubt after refusals (`account`)", f"{account.VERIFY_S:g} s"),
        (
            "| refuses everything (`account`)",
            f"{account.FIRST_PAUSE_S:g} s to {account.LONGEST_PAUSE_S / 60:g} min",
        ),
        ("| a health check that could not tell", f"{probing.UNCLEAR_S / 60:g} minutes"),
        ("| live latencies", "half-lives of {:g}, {:g} and {:g} s".format(*evidence.HALF_LIVES_S)),
        ("| a very late answer", f"{state.LAST_WORD_S:g} s × how late, a minute"),
        ("| benchmark: `error_rate`", f"{ages.ERROR_RATE_LASTS_S / ages.DAY_S:g} day"),
        ("| benchmark: `answer_fault`", f"{ages.ANSWER_FAULT_LASTS_S / ages.DAY_S:g} days"),
        ("| sweep", f"{ages.FIT_LASTS_S / ages.DAY_S:g} days"),
        ("| a conversation in a prefix cache", f"{ages.CACHE_LASTS_S / 3_600:g} hour"),
        (
            "| what part a deployment reads from its cache",
            f"{'half' if ages.CACHED_HALF_LIFE_S == ages.HOUR_S else ''} of",
        ),
    ):
        assert says in table[row], row
    assert set(re.findall(r"`(\w+)`", table["| benchmark: `answer_fault`"])) > ages.ENDS_TELL
    constants = ages.MEASURED_LASTS_S, ages.LENGTH_HALF_LIFE_S, ages.HANDFUL, state.LONGEST_WORD_S, probes.CHECK_S
    assert constants == (ages.DAY_S, 6 * ages.HOUR_S, 5, 60, 60)  # the page says them in words


@each_page
def test_a_link_leads_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", PAGES[name]):
        if target.startswith("https://"):
            continue
        path = DOCS / target if target else DOCS / name
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{target}#{anchor}"


def test_every_page_is_linked_from_another() -> None:
    linked = {
        target for name, text in PAGES.items() for target in re.findall(r"\]\(([\w-]+\.md)", text) if target != name
    }
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked |= {target.removeprefix("docs/") for target in re.findall(r"\]\((docs/[\w-]+\.md)", readme)}
    entry = {
        "getting-started.md",
        "architecture.md",
        "pitfalls.md",
        "metrics.md",
    }  # pages that no user needs for a task
    assert set(PAGES) - entry <= linked


def test_every_runbook_that_an_alert_names_is_there_and_no_other() -> None:
    page = PAGES["operations.md"]
    runbook = page[page.index("## Runbook") :]
    named = set(re.findall(r"runbook_url: docs/operations\.md#([\w-]+)", ALERTS))
    assert named == anchors(runbook) - {"runbook"}


def test_the_configuration_page_is_what_its_generator_writes() -> None:
    written = PAGES["configuration.md"]
    assert written == generate_configuration.render(), "run: python -m docs.generate_configuration"


def test_the_configuration_page_has_every_model_and_no_word_too_many() -> None:
    models = {section.model for section in generate_configuration.SECTIONS}
    fields = {f"{model.__name__}.{name}": field for model in models for name, field in model.model_fields.items()}
    nested = {
        part
        for field in fields.values()
        for part in (field.annotation, *getattr(field.annotation, "__args__", ()))
        if isinstance(part, type) and issubclass(part, BaseModel)
    }
    assert nested <= models
    assert set(generate_configuration.WORDS) <= set(fields)


@pytest.mark.parametrize(("name", "block"), blocks("yaml"), ids=lambda part: part if part in PAGES else None)
def test_a_configuration_is_accepted(name: str, block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/0")
    settings = parse_settings(yaml.safe_load(block), price_map())
    assert len(settings.deployments) >= 2, name


@pytest.mark.parametrize(("name", "call"), calls(), ids=lambda part: part if part not in PAGES else None)
def test_a_command_and_its_options_exist(name: str, call: str) -> None:
    program, *words = shlex.split(call)
    if words[0] == "schedule":  # another command follows it
        places = (place for place, word in enumerate(words) if place and word in PROGRAMS[program].commands)
        for place in places:
            test_a_command_and_its_options_exist(name, shlex.join([program, *words[place:]]))
            words = words[:place]
    command = PROGRAMS[program]
    while commands := getattr(command, "commands", None):
        assert words[0] in commands, f"{name}: {call}"
        command = commands[words.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options, f"{name}: {call}"


def test_the_filters_are_named_in_their_order() -> None:
    named = re.findall(r"^\| `(\w+)` \| ", PAGES["how-a-decision-is-made.md"], flags=re.MULTILINE)
    assert named == [accepts.__name__ for accepts in FILTERS]


def test_the_keys_in_redis_are_named() -> None:
    page = PAGES["architecture.md"]
    assert all(f"`{key}" in page for name, key in vars(keys).items() if name.isupper())


def test_the_rights_are_those_that_the_topologies_are_tried_with() -> None:
    tried = (ROOT / "tests" / "e2e" / "redis_topologies.py").read_text(encoding="utf-8")
    for name in ("ROUTER_RIGHTS", "AGENT_RIGHTS", "CLUSTER_RIGHTS"):
        (text,) = re.findall(rf'^{name} = \(?((?:\s*"[^"\n]+"\n?)+)', tried, flags=re.MULTILINE)
        rights = "".join(re.findall(r'"([^"]+)"', text))
        assert rights in " ".join(PAGES["security.md"].split())


def test_every_file_and_module_that_a_page_names_exists() -> None:
    for name, text in PAGES.items():
        for path in re.findall(r"`((?:deploy|tests|plugin|docs)/[\w./-]+)`", text):
            assert (ROOT / path).exists(), f"{name}: {path}"
    rows = PAGES["architecture.md"].partition("## What stands where")[2].partition("## ")[0]
    modules = set(re.findall(r"`(\w+)`", rows)) - {"model_list"}
    packages = ROOT / "plugin" / "slo_router", ROOT / "benchmark"
    found = {path.stem for package in packages for path in package.rglob("*")}
    assert modules <= found


@each_page
def test_a_page_is_short(name: str) -> None:
    references = {
        "benchmarking.md",
        "configuration.md",
        "evidence.md",
        "how-a-decision-is-made.md",
        "metrics.md",
        "operations.md",
    }
    longest = 345 if name == "evidence.md" else 250 if name in references else 100  # evidence.md grows with the studies
    assert PAGES[name].count("\n") <= longest
