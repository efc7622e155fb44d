"""`slo-bench sample`: reads requests, draws a sample, writes a workload, and tells why the rest was left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import typer
from typer import Argument, Option

from slo_bench.commands.terminal import console, ending_on_faults, names
from slo_bench.errors import SampleError
from slo_bench.sampling import sample_tables, scrub, traffic
from slo_bench.sampling.entries import EntryFilter
from slo_bench.sampling.extraction import Extraction
from slo_bench.sampling.private_file import write_private
from slo_bench.sampling.rules import DEFAULT_REGIONS
from slo_bench.sampling.scrub import RULES
from slo_bench.sampling.traffic import Kind, reader_of
from slo_bench.store import Store
from slo_router.contract.keys import REQUESTS_STREAM
from slo_router.contract.settings.config import load_settings

ALL_RULES = ",".join(RULES)
PHONE_REGIONS = ",".join(DEFAULT_REGIONS)

SAMPLE_HELP = """Makes a workload out of production traffic: a stratified sample, scrubbed before it is stored.

\b
From the router's request records (log_prompts must be on), in Redis or in its JSONL logs:
  slo-bench sample --config litellm_config.yaml --output workload.jsonl
  slo-bench sample requests.*.jsonl --output workload.jsonl

\b
From LiteLLM's spend logs (store_prompts_in_spend_logs must be on) or an OpenAI batch file:
  slo-bench sample spend_logs.json --category chat --output workload.jsonl
  slo-bench sample batch.jsonl --category summarization --output workload.jsonl

\b
Then measure with it:
  slo-bench run --config litellm_config.yaml --workload workload.jsonl

Each category gets the same number of requests. Within a category each stratum (prompt length, streamed or not) has its
share of the traffic, and at least one request. Scrubbers replace personal data by placeholders such as <EMAIL_1>. In a
prompt the same data gets the same placeholder. Requests with images, audio or files are left out, for they cannot be
scrubbed. Failed requests are left out too.

Exit code: 0 the file was written, 2 it was not: nothing could be sampled, or the call was wrong.
"""

Files: TypeAlias = Annotated[
    list[Path] | None, Argument(metavar="FILE", show_default=False, help="Requests; none: the stream in Redis.")
]
Output: TypeAlias = Annotated[Path, Option("--output", "-o", metavar="FILE", help="The workload: a .jsonl file.")]
Config: TypeAlias = Annotated[Path | None, Option(help="The proxy's own YAML, which names its Redis.")]
RedisUrl: TypeAlias = Annotated[str | None, Option(metavar="URL", help="Instead of the one in the YAML.")]
Hours: TypeAlias = Annotated[float | None, Option(min=0.01, help="Only the stream's last hours.", show_default="all")]
OfKind: TypeAlias = Annotated[Kind | None, Option(help="The kind of the files.", show_default="seen by their content")]
Category: TypeAlias = Annotated[
    str | None, Option(metavar="NAME", help="The category of requests without one, or of an unsure one.")
]
Group: TypeAlias = Annotated[str | None, Option(metavar="NAME", help="Only requests to this group of model_list.")]
PerCategory: TypeAlias = Annotated[int, Option(min=1, max=10_000, help="Prompts of each category.")]
Floor: TypeAlias = Annotated[int, Option(min=0, help="Prompts of each stratum, at least.")]
MaxTokens: TypeAlias = Annotated[int, Option(min=1, help="The longest answer that a prompt may ask for, tokens.")]
Seed: TypeAlias = Annotated[int, Option(help="Decides what is drawn.")]
Rules: TypeAlias = Annotated[str, Option(metavar="NAME,NAME", help="The built-in scrubbers; '' for none.")]
PhoneRegions: TypeAlias = Annotated[
    str, Option(metavar="US,GB", help="Countries whose telephone numbers are found without their +code.")
]
Scrubber: TypeAlias = Annotated[
    list[str] | None,
    Option(metavar="MODULE:CALLABLE", help="Your own: a function from a text to (start, end, KIND); repeatable."),
]
Names: TypeAlias = Annotated[bool, Option("--names", help="People's names too: needs the extra `names`.")]
AsJson: TypeAlias = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]


class Source(NamedTuple):
    """One source of requests, and how its kind was found."""

    name: str
    kind: Kind
    seen_by: str
    entries: Iterator[bytes]


def sample(
    files: Files = None,
    *,
    output: Output,
    config: Config = None,
    redis_url: RedisUrl = None,
    hours: Hours = None,
    kind: OfKind = None,
    category: Category = None,
    group: Group = None,
    per_category: PerCategory = 100,
    floor: Floor = 1,
    max_tokens: MaxTokens = 1_024,
    seed: Seed = 0,
    rules: Rules = ALL_RULES,
    phone_regions: PhoneRegions = PHONE_REGIONS,
    scrubber: Scrubber = None,
    with_names: Names = False,
    as_json: AsJson = False,
) -> None:
    """Samples a workload. Exits with 0 or 2, see `SAMPLE_HELP`."""
    log = console(stderr=True)
    with ending_on_faults():
        try:
            _check(output, files or [], category)
            own = [*(scrubber or []), *([scrub.NAMES] if with_names else [])]
            finders = [*scrub.built_in(names(rules), names(phone_regions)), *map(scrub.load, own)]
            extraction = Extraction(per_category, floor, seed, max_tokens)
            with log.status("reading"):
                for source in _of_files(files, kind) if files else _of_redis(config, redis_url, hours):
                    count = extraction.read(source.entries, reader_of(source.kind, EntryFilter(category, group)))
                    log.print(f"{source.name}: {count:,} entries, {source.kind.value} ({source.seen_by})")
            extract = extraction.finish(finders)
            for line in sample_tables.remarks(extract):
                log.print(line)
            if not extract.lines:
                raise SampleError("nothing to sample: no file was written")
            write_private(output, extract.lines)
        except OSError as error:
            raise SampleError(f"--output: {output}: {error.strerror}, expected a file that can be written") from error
    if as_json:
        typer.echo(json.dumps(sample_tables.document(extract, output), indent=2))
    else:
        console().print(sample_tables.table(extract, output))


def _check(output: Path, files: Sequence[Path], category: str | None) -> None:
    if output.suffix not in {".jsonl", ".ndjson"}:
        raise SampleError(f"--output: {str(output)!r}, expected a name that ends in .jsonl")
    if output.exists() and any(file.exists() and file.samefile(output) for file in files):
        raise SampleError(f"--output: {output} is one of the files to read, expected another name")
    if category is not None and not re.fullmatch(r"[a-z0-9_.-]{1,64}", category):
        raise SampleError(f"--category: {category!r}, expected small letters, digits, _ . and -")


def _of_files(files: Sequence[Path], kind: Kind | None) -> Iterator[Source]:
    for path in files:
        entries = traffic.file_entries(path)
        if kind is None:
            found, entries = traffic.with_kind(entries, path)
            yield Source(path.name, found, "by its content", entries)
        else:
            yield Source(path.name, kind, "as --kind says", entries)


def _of_redis(config: Path | None, redis_url: str | None, hours: float | None) -> Iterator[Source]:
    settings = None if config is None else load_settings(config)
    url = redis_url or (settings and settings.plugin.redis_url)
    if not url:
        raise SampleError("nothing to read, expected FILE, --config with a redis_url, or --redis-url")
    store = Store(url, settings.plugin.key_prefix if settings else "")
    entries = traffic.stream_entries(store, hours)
    yield Source(store.key_prefix + REQUESTS_STREAM, Kind.RECORDS, "the stream in Redis", entries)
