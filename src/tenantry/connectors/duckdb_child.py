"""The program that runs DuckDB: one job over one tenant's files, in a process of its own.

Started by `duckdb_process` with an empty environment. Standard input is a socket that carries one
job as a line of JSON, and the tenant's files as open descriptors; standard output carries JSON
lines back. Before the job is looked at, nothing of any tenant is here; after it, the process ends.

    {"op": "query", "sql": …, "tables": ["flights", …]}  descriptors: the tables' files, in order
        {"columns": ["carrier", "n"]}, then ["UA", 3] for each row, then {"end": true}
    {"op": "convert", "csv": {"delimiter": ",", "names": […]}}  descriptors: the upload, the target
        {"columns": [["carrier", "VARCHAR"], …], "rows": 3}, then {"end": true}
    either may end with {"error": "memory" | "source" | "sandbox", "message": …}
"""

import json
import math
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from tenantry.core import sandbox
from tenantry.db.queries import parse

_STATEMENTS = parse(Path(__file__).with_name("duckdb.sql").read_text("utf-8"))
_LONGEST_JOB = 1 << 20
_MOST_DESCRIPTORS = 250  # SCM_MAX_FD of Linux is 253
_LARGEST_INTEGER = (1 << 53) - 1  # exact in every reader of JSON (RFC 8259, section 6)
_PLAIN = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
    "UINTEGER", "UBIGINT", "UHUGEINT", "DOUBLE", "VARCHAR",
})  # fmt: skip
# Marks of a missing value, beside an empty field, in files that were exported with such marks.
_MISSING = ("", "NA", "N/A", "NULL", "null", "\\N", "NaN", "nan", "-")
_LONGEST_LINE = 4 * 1024 * 1024
Connection = duckdb.DuckDBPyConnection
Job = Mapping[str, Any]


class Unfit(Exception):
    """The job cannot be done, and why."""


def main(arguments: Sequence[str]) -> None:
    """Wait for one job, do it, and end."""
    limits = sandbox.Limits(*map(int, arguments))
    sandbox.limit_resources(limits)
    channel = socket.socket(fileno=0)
    job, descriptors = _receive(channel)
    if not job:
        return  # the server ended before it had work for us
    try:
        writable = descriptors[1:] if job["op"] == "convert" else []
        sandbox.confine(descriptors, writable)
        # A server that dies closes the channel: nobody is left who could stop us.
        threading.Thread(target=_end_with_server, args=(channel,), daemon=True).start()
        with _connect(limits, descriptors) as connection:
            _OPERATIONS[job["op"]](connection, job, descriptors)
        _write({"end": True})
    except (duckdb.OutOfMemoryException, MemoryError):
        _write({"error": "memory", "message": "It needs more memory than a query may use."})
    except (duckdb.Error, Unfit) as error:
        _write({"error": "source", "message": str(error)})
    except OSError as error:
        _write({"error": "sandbox", "message": str(error)})
    sys.stdout.buffer.flush()


def _receive(channel: socket.socket) -> tuple[Job, list[int]]:
    text, descriptors = bytearray(), list[int]()
    while not text.endswith(b"\n"):
        part, received, _, _ = socket.recv_fds(channel, _LONGEST_JOB, _MOST_DESCRIPTORS)
        if not part:
            return {}, []
        text += part
        descriptors += received
    return json.loads(text), descriptors


def _end_with_server(channel: socket.socket) -> None:
    with suppress(OSError):
        channel.recv(1)
    os._exit(1)


def _connect(limits: sandbox.Limits, descriptors: Sequence[int]) -> Connection:
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{limits.memory_bytes}B",
            "threads": str(limits.threads),
            "temp_directory": "",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_persistent_secrets": "false",
            "python_enable_replacements": "false",  # else a table name finds variables of ours
        },
    )
    paths = ", ".join(map(_path, descriptors))
    connection.execute(_sql("lock_down", paths=paths))
    return connection


def _query(connection: Connection, job: Job, descriptors: Sequence[int]) -> None:
    for name, descriptor in zip(job["tables"], descriptors, strict=True):
        connection.execute(_sql("create_view", name=_name(name), path=_path(descriptor)))
    query = str(job["sql"])
    # The guard has decided; this is the second look, by the parser that will run it.
    statements = connection.extract_statements(query)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise Unfit("Only one SELECT statement can be run here.")
    described = connection.execute(_sql("describe", query=query)).fetchall()
    _write({"columns": [column[0] for column in described]})
    readers = [_reader(column[1]) for column in described]
    values = ", ".join(_value(place, column[1]) for place, column in enumerate(described, 1))
    cursor = connection.execute(_sql("select", values=values, query=query))
    while row := cursor.fetchone():
        _write([read(value) for read, value in zip(readers, row, strict=True)])


def _convert(connection: Connection, job: Job, descriptors: Sequence[int]) -> None:
    source, target = map(_path, descriptors)
    try:
        layout = job.get("csv")
        read = _csv(connection, source, layout) if layout else _sql("parquet", path=source)
        values = ", ".join(map(_storable, _columns(connection, read)))
        connection.execute(_sql("store", values=values, source=read, path=target)).fetchall()
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise Unfit(_problem(str(error))) from error
    stored = _sql("parquet", path=target)
    columns = [(column[0], column[1]) for column in _columns(connection, stored)]
    _write({"columns": columns, "rows": _count(connection, stored)})


def _csv(connection: Connection, path: str, layout: Job) -> str:
    """How to read the file: with marks of missing values if it uses any, else without.

    A file in which such a mark stands among numbers or dates uses it, so it is missing everywhere.
    In one where it stands among texts only, it is a text (NA is also Namibia).
    """
    names = [_text(name) for name in layout["names"]]
    common = {
        "path": path,
        "delimiter": _text(layout["delimiter"]),
        "line_bytes": _LONGEST_LINE,
    }
    texts = ", ".join(f"{name}: 'VARCHAR'" for name in names)
    _count(connection, _sql("csv_lines", columns=texts, **common))
    common["names"] = ", ".join(names)
    plain = _sql("csv", nulls="''", **common)
    marked = _sql("csv", nulls=", ".join(map(_text, _MISSING)), **common)
    return plain if _columns(connection, plain) == _columns(connection, marked) else marked


def _storable(column: Sequence[str]) -> str:
    """The column with a type that Parquet has: it would round integers of 128 bits."""
    name, kind = _name(column[0]), column[1]
    return f"CAST({name} AS DECIMAL(38, 0)) AS {name}" if kind.endswith("HUGEINT") else name


def _problem(message: str) -> str:
    """What is wrong with a file, without DuckDB's advice, which speaks of its own options."""
    where = re.search(r"CSV Error on Line: (\d+)", message)
    if where is None:
        first = message.partition(": ")[2].partition("\n")[0]
        return re.sub(r"['\"]?/dev/fd/\d+['\"]?", "it", first)
    columns = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    if columns is not None:
        wrong = f"has {columns[2]} fields where the first line names {columns[1]} columns"
    elif "quote" in message.partition("Possible")[0]:
        wrong = "has a quotation mark that does not end"
    else:
        wrong = "does not follow the rules of CSV"
    return f"Line {where[1]} {wrong}."


def _count(connection: Connection, source: str) -> int:
    counted = connection.execute(_sql("count", source=source)).fetchone()
    return int(counted[0]) if counted else 0


def _columns(connection: Connection, source: str) -> list[Any]:
    query = _sql("everything", source=source)
    return connection.execute(_sql("describe", query=query)).fetchall()


def _value(place: int, kind: str) -> str:
    """The column at `place` as a type that needs no module of Python's to be read exactly."""
    if kind in _PLAIN:
        return f"#{place}"
    if kind == "FLOAT":
        return f"CAST(CAST(#{place} AS VARCHAR) AS DOUBLE)"  # 0.1, not 0.10000000149011612
    return (
        f"CAST(to_json(#{place}) AS VARCHAR)" if _is_nested(kind) else f"CAST(#{place} AS VARCHAR)"
    )


def _reader(kind: str) -> Callable[[Any], Any]:
    return _nested if _is_nested(kind) else _plain


def _is_nested(kind: str) -> bool:
    return kind == "JSON" or kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return str(value)
    return value


def _nested(value: str | None) -> Any:
    if value is None:
        return None
    return json.loads(value, parse_constant=str, parse_int=lambda text: _plain(int(text)))


def _sql(statement: str, **parts: object) -> str:
    return _STATEMENTS[statement].decode().format(**parts)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _path(descriptor: int) -> str:
    return _text(f"/dev/fd/{descriptor}")


def _write(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    sys.stdout.buffer.write(text.encode() + b"\n")


_OPERATIONS: Mapping[str, Callable[[Connection, Job, Sequence[int]], None]] = {
    "query": _query,
    "convert": _convert,
}

if __name__ == "__main__":
    main(sys.argv[1:])
