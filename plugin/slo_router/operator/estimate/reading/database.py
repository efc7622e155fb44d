"""Streams the spend logs from LiteLLM's database, Postgres, in one read-only transaction.

The server itself picks the fields of `metadata` that are read. Messages are selected only if tasks are to be told from
them, answers never. No part of a URL's password is ever printed, so what libpq says of a URL is not passed on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from slo_router.errors import SettingsError
from slo_router.operator.estimate.reading.rows import Row
from slo_router.operator.estimate.reading.spend_logs import (
    COLUMNS,
    NEEDED,
    TEXT_COLUMNS,
    Categorize,
    log_of_text,
    row_of,
)

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

TABLE = "LiteLLM_SpendLogs"
SCHEMES = ("postgresql", "postgres")
EXPECTED = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
CONNECT_S = 15
# Parameters of a URL that Prisma takes and Postgres' own library does not.
_PRISMA = frozenset(
    {
        *("connection_limit", "pool_timeout", "schema", "pgbouncer", "statement_cache_size", "socket_timeout"),
        *("sslaccept", "sslidentity", "sslpassword", "max_connection_lifetime", "max_idle_connection_lifetime"),
    }
)
_REASONS = {
    "authentication failed": "refuses this user or password",
    "no password supplied": "wants a password: write it into the URL, or set PGPASSWORD",
    "pg_hba": "does not let this user in from here, or not without TLS",
    "database": "has no such database",
    "role": "knows no such user",
    "translate host name": "is no host that is known here",
    "resolve": "is no host that is known here",
    "refused": "has nobody who listens",
    "timeout": "does not answer",
    "SSL": "and the URL disagree on TLS: see sslmode",
}
_METADATA = """jsonb_build_object(
 'user_api_key_alias', m.user_api_key_alias, 'status', m.status,
 'usage_object', jsonb_build_object('prompt_tokens_details', m.usage_object->'prompt_tokens_details'),
 'additional_usage_values', jsonb_build_object(
   'cache_read_input_tokens', m.additional_usage_values->'cache_read_input_tokens'),
 'spend_logs_metadata', jsonb_build_object('slo_router',
   jsonb_build_object('category', m.spend_logs_metadata->'slo_router'->'category')))::text"""
_PARTS = """left join lateral jsonb_to_record(case jsonb_typeof(t.metadata) when 'object' then t.metadata end) as
 m(user_api_key_alias text, status text, usage_object jsonb, additional_usage_values jsonb, spend_logs_metadata jsonb)
 on true"""


class Period(NamedTuple):
    """A period in Unix seconds, without its end. `most`: only so many rows, the newest."""

    since_s: float
    until_s: float
    group: str | None = None
    most: int | None = None


def is_database(source: str) -> bool:
    """Whether a source is a URL of Postgres, rather than a file."""
    return source.partition("://")[0].lower() in SCHEMES and "://" in source


def database_rows(url: str, period: Period, categorize: Categorize | None) -> Iterator[Row | None]:
    """The rows of a period; `None` for an unreadable one. Raises SettingsError where the database can't be read."""
    with _connected(url) as (connection, where):
        names = _columns(connection, where)
        wanted = [*COLUMNS, *(TEXT_COLUMNS if categorize is not None else ())]
        with connection.cursor() as cursor, cursor.copy(_statement(wanted, names, period)) as copied:
            for cells in copied.rows():
                try:
                    yield row_of(log_of_text(cells), categorize)
                except ValueError:
                    yield None


def _statement(wanted: Sequence[str], names: frozenset[str], period: Period) -> sql.Composed:
    from psycopg import sql  # noqa: PLC0415

    def column(name: str) -> sql.Composable:
        if name not in names:
            return sql.SQL("null")
        return sql.SQL(_METADATA) if name == "metadata" else sql.Identifier("t", name)

    begins, ends = (
        sql.SQL("to_timestamp({}) at time zone 'utc'").format(sql.Literal(at))
        for at in (period.since_s, period.until_s)
    )
    return sql.SQL(
        'copy (select {columns} from {table} t {parts} where t."startTime" >= {begins} and t."startTime" < {ends}'
        "{group}{limit}) to stdout"
    ).format(
        columns=sql.SQL(", ").join(column(name) for name in wanted),
        table=sql.Identifier(TABLE),
        parts=sql.SQL(_PARTS if "metadata" in names else ""),
        begins=begins,
        ends=ends,
        group=sql.SQL(" and t.model_group = {}").format(sql.Literal(period.group)) if period.group else sql.SQL(""),
        limit=sql.SQL(' order by t."startTime" desc limit {}').format(sql.Literal(period.most))
        if period.most is not None
        else sql.SQL(""),
    )


@contextmanager
def _connected(url: str) -> Iterator[tuple[psycopg.Connection, str]]:
    """A connection in a read-only transaction, and how to name it. Raises SettingsError."""
    try:
        import psycopg  # noqa: PLC0415  # an extra, and LiteLLM's own
        from psycopg import errors, sql  # noqa: PLC0415
    except ImportError:
        raise SettingsError("reading Postgres takes litellm-slo-router[estimate], or export the table as CSV") from None
    plain, schema, where = _read_url(url)
    try:
        with psycopg.connect(plain, connect_timeout=CONNECT_S) as connection:
            connection.read_only = True
            connection.execute("set local datestyle to 'ISO, YMD'")
            if schema:
                connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(schema)))
            yield connection, where
            connection.rollback()
    except errors.InsufficientPrivilege:
        grant = f'grant select on "{TABLE}" to {urlsplit(url).username or "USER"}'
        raise SettingsError(f"{where}: this user may not read {TABLE}, expected: {grant}") from None
    except psycopg.OperationalError as error:
        raise SettingsError(f"{where}: {_reason(str(error))}, expected {EXPECTED}") from None
    except psycopg.ProgrammingError:
        raise SettingsError(f"{where}: not understood, expected {EXPECTED}") from None


def _read_url(url: str) -> tuple[str, str | None, str]:
    """The URL as libpq takes it, Prisma's schema, and what may be shown of it. Raises SettingsError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SettingsError(
            f"the URL of Postgres: not understood, expected {EXPECTED}; other characters of a password as %XX"
        ) from None
    where = f"postgresql://…/{parts.path.rpartition('/')[2]}"
    query = parse_qsl(parts.query)
    ours = urlencode([(name, value) for name, value in query if name not in _PRISMA])
    return urlunsplit(parts._replace(query=ours)), dict(query).get("schema"), where


def _reason(text: str) -> str:
    """The reason in libpq's message, without what the message quotes."""
    return next((said for phrase, said in _REASONS.items() if phrase in text), "cannot be reached")


def _columns(connection: psycopg.Connection, where: str) -> frozenset[str]:
    """The table's columns. Raises SettingsError where there is no such table."""
    found = connection.execute(
        "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped",
        [f'"{TABLE}"'],
    ).fetchall()
    names = frozenset(str(name) for (name,) in found)
    if missing := [name for name in NEEDED if name not in names]:
        lacks = f"its {TABLE} has no {', '.join(missing)}" if names else f"no table {TABLE}"
        raise SettingsError(
            f"{where}: {lacks}, expected the database of a LiteLLM proxy; ?schema=NAME names its schema"
        )
    return names
