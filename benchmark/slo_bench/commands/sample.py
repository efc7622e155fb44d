"""`slo-bench sample`: reads requests, draws from them, writes a workload and says what became of the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from slo_bench.commands import sample_options as options
from slo_bench.commands.terminal import console, names
from slo_bench.errors import SampleError
from slo_bench.run.session import Store
from slo_bench.sampling import report, scrubbers, traffic
from slo_bench.sampling.entries import Wanted
from slo_bench.sampling.extraction import Extraction
from slo_bench.sampling.private_file import write_private
from slo_bench.sampling.sources import Kind, reader_of
from slo_bench.summary.results import NOTHING_MEASURED
from slo_router.contract.metrics_hash import REQUESTS_STREAM
from slo_router.contract.settings.config import load_settings
from slo_router.errors import SloRouterError


class Source(NamedTuple):
    """One place with requests, and how its kind is known."""

    name: str
    kind: Kind
    seen_by: str
    entries: Iterator[bytes]


def sample(
    files: options.Files = None,
    *,
    output: options.Output,
    config: options.Config = None,
    redis_url: options.RedisUrl = None,
    hours: options.Hours = None,
    kind: options.OfKind = None,
    category: options.Category = None,
    group: options.Group = None,
    per_category: options.PerCategory = 100,
    floor: options.Floor = 1,
    max_tokens: options.MaxTokens = 1_024,
    seed: options.Seed = 0,
    rules: options.Rules = options.ALL_RULES,
    phone_regions: options.PhoneRegions = options.PHONE_REGIONS,
    scrubber: options.Scrubber = None,
    with_names: options.Names = False,
    as_json: options.AsJson = False,
) -> None:
    """Exits with 0 or 2, see `sample_options.SAMPLE_HELP`."""
    log = console(stderr=True)
    try:
        _check(output, files or [], category)
        own = [*(scrubber or []), *([scrubbers.NAMES] if with_names else [])]
        finders = [*scrubbers.built_in(names(rules), names(phone_regions)), *map(scrubbers.load, own)]
        extraction = Extraction(per_category, floor, seed, max_tokens)
        with log.status("reading"):
            for source in _of_files(files, kind) if files else _of_redis(config, redis_url, hours):
                count = extraction.read(source.entries, reader_of(source.kind, Wanted(category, group)))
                log.print(f"{source.name}: {count:,} entries, {source.kind.value} ({source.seen_by})")
        extract = extraction.finish(finders)
        for line in report.remarks(extract):
            log.print(line)
        if not extract.lines:
            raise SampleError("nothing to sample: no file was written")
        write_private(output, extract.lines)
    except OSError as error:
        log.print(f"--output: {output}: {error.strerror}, expected a file that can be written")
        raise typer.Exit(NOTHING_MEASURED) from error
    except SloRouterError as error:
        log.print(str(error))
        raise typer.Exit(NOTHING_MEASURED) from error
    if as_json:
        typer.echo(json.dumps(report.document(extract, output), indent=2))
    else:
        console().print(report.table(extract, output))


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
