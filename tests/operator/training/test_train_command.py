"""`slo-router train` learns from each form of file, shows held-out results, and says what the tasks are worth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from slo_router.contract.settings.tasks.classifier import Classifier, read_classifier
from slo_router.operator.cli import app
from slo_router.operator.evaluating.table import read_columns
from slo_router.request.categories import instruction_windows
from slo_router.request.trained import trained

SAMPLE = Path(__file__).parents[1] / "evaluating" / "outcomes_sample.csv"
RUNNER = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
COLOURS, ANIMALS = ("red", "green", "blue", "yellow", "violet"), ("cat", "dog", "cow", "horse", "goose")
PROMPTS = [
    *(("colours", f"Paint the {a} wall in {b}.") for a in COLOURS for b in COLOURS),
    *(("animals", f"Feed the {a} and then the {b}.") for a in ANIMALS for b in ANIMALS),
]


def ran(*arguments: object, code: int = 0) -> Result:
    done = RUNNER.invoke(app, ["train", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def made(folder: Path, *arguments: object) -> tuple[Classifier, Result]:
    done = ran(*arguments, "--output", folder / "tasks.json")
    return read_classifier((folder / "tasks.json").read_bytes(), "tasks.json"), done


def written(folder: Path, rows: Sequence[object]) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def told(classifier: Classifier, text: str) -> str | None:
    return trained(classifier)(instruction_windows(text))


@pytest.mark.parametrize("form", ["text", "prompt", "messages", "record", "csv", "yaml"])
def test_each_form_of_file_teaches_the_same(tmp_path: Path, form: str) -> None:
    if form == "csv":
        path = tmp_path / "prompts.csv"
        path.write_text("category,text\n" + "".join(f"{said},{text}\n" for said, text in PROMPTS))
    elif form == "yaml":
        path = tmp_path / "config.yaml"
        own = {name: {"examples": [text for said, text in PROMPTS if said == name]} for name in ("colours", "animals")}
        section = {"groups": {"smart": {"categories": own, "categorizer": {"trained": "not-yet.json"}}}}
        entry = {"model_name": "smart", "litellm_params": {"model": "openai/small"}, "model_info": {"id": "small"}}
        path.write_text(json.dumps({"model_list": [entry], "callback_settings": {"slo_router": section}}))
    elif form == "record":
        rule, guess = {"category_source": "rule"}, {"category_source": "categorizer"}
        records = [{"prompt": [{"role": "user", "content": t}], "category": s, "decision": rule} for s, t in PROMPTS]
        guessed = [{"prompt": "What a guess says.", "category": "chat", "decision": guess}, {"prompt": None}]
        path = written(tmp_path, [*records, *guessed])
    else:
        rows = [
            {form: [{"role": "user", "content": t}] if form == "messages" else t, "category": s} for s, t in PROMPTS
        ]
        path = written(tmp_path, rows)
    classifier, done = made(tmp_path, path)
    assert list(classifier.categories) == ["animals", "colours"]
    assert "of 50 prompts, each told by a fit that had not seen it: sure of 100%, 100% of these right" in done.stdout
    assert told(classifier, "Wash the dog.") == "animals"
    assert told(classifier, "A violet door") == "colours"
    assert told(classifier, "Xyzzy") is None


def test_it_shows_what_is_taken_for_what_and_what_that_is_worth(tmp_path: Path) -> None:
    classifier, done = made(tmp_path, SAMPLE, "--outcomes", SAMPLE)
    assert list(classifier.categories) == ["code-reasoning", "math", "math-hard"]
    for text in ("1   code-reasoning   40", "the table's categories", "built-in rules", "best constant"):
        assert text in done.stdout
    assert "at 99% of the strongest model's quality they are worth nothing: 1,000 prompts cost $" in done.stdout
    assert "it has words of the prompts in it" in done.stderr
    figures = json.loads(ran(SAMPLE, "--outcomes", SAMPLE, "--output", tmp_path / "t.json", "--json").stdout)
    assert [one["target"] for one in figures["worth"]] == [0.95, 0.99]
    assert figures["worth"][0]["usd_per_1k_prompts"]["best constant"] > 0
    right = sum(one["prompts"] for one in figures["told"] if one["category"] == one["told"])
    sure = sum(one["prompts"] for one in figures["told"] if one["told"] != "unsure")
    assert right / sure == pytest.approx(figures["held_out"]["right"])
    assert sure / 150 == pytest.approx(figures["held_out"]["sure"])


def test_clusters_need_no_label_and_their_words_stand_in_the_artefact_alone(tmp_path: Path) -> None:
    path = written(tmp_path, [{"text": text} for _, text in PROMPTS])
    classifier, done = made(tmp_path, path, "--clusters", 2, "--prefix", "may")
    assert list(classifier.categories) == ["may-1", "may-2"]
    parts = {
        name: {told(classifier, text) for said, text in PROMPTS if said == name} for name in ("colours", "animals")
    }
    assert sorted(map(len, parts.values())) == [1, 1]
    assert parts["colours"] != parts["animals"]
    words = {word for top in classifier.top_words.values() for word in top}
    assert words & {"feed", "paint"}
    assert not words & {*COLOURS, *ANIMALS, "feed", "paint"} & {*done.output.lower().split()}


def test_the_artefact_tells_what_the_fit_tells(tmp_path: Path) -> None:
    """Packed into whole numbers, it gives a prompt the same cluster as the fit did."""
    columns = read_columns(SAMPLE)
    path = written(tmp_path, [{"text": text} for text in columns["prompt"]])
    figures = ran(path, "--clusters", 5, "--output", tmp_path / "tasks.json", "--json").stdout
    classifier = read_classifier((tmp_path / "tasks.json").read_bytes(), "tasks.json")
    counted = dict.fromkeys(classifier.categories, 0)
    for text in columns["prompt"]:
        counted[told(classifier, str(text)) or ""] += 1
    assert counted == {one["told"]: one["prompts"] for one in json.loads(figures)["told"]}


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        ([{"text": "a"}], [], "none of 1 prompts has a category, expected some, or --clusters 20"),
        ([{"text": "a", "category": "x"}], [], "prompts by category: {'x': 1}, expected two categories, 5 of each"),
        ([{"words": "a"}], [], "prompts.jsonl:1: no prompt, expected one of messages, prompt, text"),
        ([["a"]], [], "prompts.jsonl:1: list, expected a JSON object in each line"),
        ([{"text": "a", "category": "ä"}], [], "prompts.jsonl:1.category: 'ä', expected a to z, 0 to 9"),
        ([{"text": ""}], [], "no prompt, expected some with messages, prompt, text"),
        (
            [{"text": f"same words, x{n}"} for n in range(20)],
            ["--clusters", "2"],
            "no word tells one prompt from another, expected prompts that differ",
        ),
        ([{"text": "a b"}] * 30, ["--clusters", "2", "--prefix", "A b"], "1 prompts for 2 clusters, expected 20"),
        (
            [{"text": f"a b {n}"} for n in range(20)],
            ["--clusters", "2", "--prefix", "A b"],
            "--prefix: 'A b', expected a",
        ),
        ([{"text": "a b"}], ["--clusters", "2"], "1 prompts for 2 clusters, expected 20, or fewer clusters"),
        ([{"text": "a", "model_group": "other"}], ["--group", "smart"], "no prompt, expected some with"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, rows: Sequence[object], arguments: list[str], said: str) -> None:
    done = ran(written(tmp_path, rows), *arguments, "--output", tmp_path / "tasks.json", code=1)
    assert said in done.stderr
    assert not (tmp_path / "tasks.json").exists()


def test_labels_that_no_word_tells_are_refused(tmp_path: Path) -> None:
    rows = [{"text": f"The same sentence, number {n}.", "category": f"c{n * 7 % 5 % 4}"} for n in range(60)]
    done = ran(written(tmp_path, rows), "--sure", 0.95, "--output", tmp_path / "tasks.json", code=1)
    assert "none with a probability of 0.95: these categories cannot be told by their words" in done.stderr


def test_who_wants_to_be_surer_gets_less_and_that_more_often_right(tmp_path: Path) -> None:
    rows = [
        {"text": f"{text} {PROMPTS[n * 7 % 50][1] if n % 3 else ''}", "category": said}
        for n, (said, text) in enumerate(PROMPTS)
    ]
    loose, strict = (made(tmp_path, written(tmp_path, rows), "--sure", sure)[0] for sure in (0.1, 0.9))
    assert strict.margin > loose.margin
    assert strict.held_out["sure"] < loose.held_out["sure"]
    assert strict.held_out["right"] > loose.held_out["right"]


def test_no_file_is_no_traceback(tmp_path: Path) -> None:
    assert "nowhere.jsonl: No such file or directory, expected JSONL" in ran("nowhere.jsonl", code=1).stderr
    path = written(tmp_path, [{"text": text, "category": said} for said, text in PROMPTS])
    assert "expected a path to write to" in ran(path, "--output", tmp_path, code=1).stderr
