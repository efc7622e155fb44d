"""Every name in Redis. The setting `key_prefix` is put before each of them.

name                                              what it is    who writes it
metrics:{deployment}:{category}                   hash          the agent, or any other program
slo_router:requests                               stream        each worker: one record per request
slo_router:requests:ids                           sorted set    each worker: request id → ms of its record's id
slo_router:live:{worker}                          string        that worker: its live state as JSON; it expires
slo_router:workers                                set           each worker: adds its own name, removes dead workers
slo_router:bell                                   stream        each worker: it has news that others need at once
slo_router:scraper                                string        the worker that asks the model servers; it expires
slo_router:off                                    set           the operator: groups that LiteLLM alone routes
slo_router:policies                               list          the operator: JSON, the newest first
slo_router:feedback                               hash          worker or command that takes a rating: day → how many
slo_router:feedback:{day}                         hash          likewise: the sums of that day; it expires
slo_router:rated                                  sorted set    likewise: request id → ms of its record's id
slo_router:implicit                               hash          each worker: day → how often it told of weak signals
slo_router:implicit:{day}                         hash          each worker: the sums of that day; it expires
slo_router:spent:{day}                            hash          each worker: USD and requests by group; it expires
slo_router:paired                                 hash          each worker: day → how many comparisons
slo_router:paired:{day}                           hash          each worker: the sums of that day; it expires
slo_router:paired:usd:{day}                       hash          each worker: USD of that day, by group; it expires

slo_bench:lock:{hash of address and model}        string        the agent that measures the endpoint; it expires
slo_bench:pace                                    hash          the agent: the time of a request, by cell
slo_bench:unfinished:{plan}                       hash          the agent: the cells that are done; it expires
slo_bench:history                                 set           the agent: names of the streams in the next line
slo_bench:history:{kind}:{deployment}:{category}  stream        the agent: one entry per run
slo_bench:alerts                                  stream        the agent: what got worse
"""

from __future__ import annotations

REQUESTS_STREAM = "slo_router:requests"
LIVE_KEY = "slo_router:live:"
WORKERS_KEY = "slo_router:workers"
BELL_KEY = "slo_router:bell"
SCRAPER_KEY = "slo_router:scraper"
OFF_KEY = "slo_router:off"
POLICIES_KEY = "slo_router:policies"
FEEDBACK_KEY = "slo_router:feedback"
IMPLICIT_KEY = "slo_router:implicit"
RATED_KEY = "slo_router:rated"
SPENT_KEY = "slo_router:spent"
PAIRED_KEY = "slo_router:paired"

LOCK_KEY = "slo_bench:lock:"
PACE_KEY = "slo_bench:pace"
UNFINISHED_KEY = "slo_bench:unfinished:"
HISTORY_KEY = "slo_bench:history"
ALERTS_KEY = "slo_bench:alerts"


def metrics_key(prefix: str, deployment_id: str, category: str) -> str:
    """The name of the metrics hash of one deployment in one category."""
    return f"{prefix}metrics:{deployment_id}:{category}"


def feedback_key(prefix: str, day: str) -> str:
    """The name of the hash of a day's ratings (UTC, such as `2026-11-30`)."""
    return f"{prefix}{FEEDBACK_KEY}:{day}"


def implicit_key(prefix: str, day: str) -> str:
    """The name of the hash of a day's weak signals (UTC)."""
    return f"{prefix}{IMPLICIT_KEY}:{day}"


def spent_key(prefix: str, day: str) -> str:
    """The name of the hash of what groups spent on a day (UTC, such as `2026-11-30`)."""
    return f"{prefix}{SPENT_KEY}:{day}"


def paired_key(prefix: str, day: str) -> str:
    """The name of the hash of a day's comparisons (UTC)."""
    return f"{prefix}{PAIRED_KEY}:{day}"


def paired_usd_key(prefix: str, day: str) -> str:
    """The name of the hash of what a day's comparisons cost."""
    return f"{prefix}{PAIRED_KEY}:usd:{day}"


def request_index_key(stream: str) -> str:
    """The name of the index of a stream of records."""
    return f"{stream}:ids"


def history_key(prefix: str, kind: str, deployment_id: str, category: str) -> str:
    """The name of the history stream of one kind of run, of one deployment in one category."""
    return f"{prefix}{HISTORY_KEY}:{kind}:{deployment_id}:{category}"
