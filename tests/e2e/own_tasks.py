"""The group `tasks` of the shared proxy: categories of its own, told by rules and by a trained classifier."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from slo_router.operator.cli import app

SAYS = {
    "poems": "Write a poem about the {}, please, and let it rhyme.",
    "recipes": "How do I cook a meal for the {}? List what I need from the shop.",
}
THINGS = ("sea", "moon", "harvest", "children", "winter", "old friends")


def tasks_group(directory: Path) -> dict[str, object]:
    """The group's settings. The classifier's artefact is written into the directory."""
    rows = [{"text": says.format(thing), "category": name} for name, says in SAYS.items() for thing in THINGS]
    prompts, artefact = directory / "prompts.jsonl", directory / "tasks.json"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = CliRunner().invoke(app, ["train", str(prompts), "--output", str(artefact)])
    assert done.exit_code == 0, done.output
    return {
        "trial_share": 0,
        "min_quality": {"default": 0.5, "refunds": 0.9, "poems": 0.9},  # small has 0.6
        "categorizer": {"trained": str(artefact)},
        "categories": {
            "orders": {"when": {"header": {"x-app": "shop"}, "tool": "order"}},
            "refunds": {"when": [{"header": {"x-app": "shop"}}, {"tag": "refunds"}, {"json_schema": "refund"}]},
        },
    }
