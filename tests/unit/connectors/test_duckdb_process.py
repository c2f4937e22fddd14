"""One process, one job, one tenant; and DuckDB locked down even if the guard were not there."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pytest

from tenantry.connectors.duckdb_process import (
    DuckDbProcess,
    DuckDbProcesses,
    Job,
    LineTooLong,
    answers,
)
from tenantry.connectors.slots import Slots
from tenantry.core.errors import QueryFailed
from tenantry.core.events import Json
from tenantry.core.sandbox import Limits, landlock_version
from tenantry.isolation.context import TenantContext
from tests.unit.connectors.statements import legitimate, sample_tables

pytestmark = pytest.mark.req("CON-3")

_LIMITS = Limits(256 * 1024 * 1024, 2, 60)
_ENDLESS = "SELECT count(*) FROM range(9999999) a, range(9999999) b WHERE a.range * b.range % 7 = 9"


@dataclass
class Runner:
    """Runs jobs over Parquet files of the sample tables, without any guard."""

    ctx: TenantContext
    folder: Path
    processes: DuckDbProcesses
    pids: list[int] = field(default_factory=list)

    async def run(self, sql: str, *tables: str) -> list[Json]:
        """What the process answers."""
        with ExitStack() as stack:
            descriptors = [
                stack.enter_context((self.folder / f"{name}.parquet").open("rb")).fileno()
                for name in tables
            ]
            job = Job({"op": "query", "sql": sql, "tables": list(tables)}, descriptors)
            return await self.do(job)

    async def do(self, job: Job) -> list[Json]:
        """What the process answers to any job."""
        async with self.processes.lend(self.ctx) as process:
            self.pids.append(process.pid)
            process.send(job)
            return [answer async for answer in answers(process, 1_000_000)]


@pytest.fixture
async def runner(ctx: TenantContext, tmp_path: Path) -> AsyncIterator[Runner]:
    """A runner with the sample tables, and a file of the neighbour's beside them."""
    with duckdb.connect() as connection:
        sample_tables(connection)
        for name in ("flights", "airlines", "weather", "invoices"):
            connection.execute(f"COPY {name} TO '{tmp_path}/{name}.parquet'")
        connection.execute(f"COPY (SELECT 'canary' AS c) TO '{tmp_path}/globex.parquet'")
    (tmp_path / "secret.txt").write_text("canary")
    processes = DuckDbProcesses(_LIMITS, Slots(3, 2), keep_spare=False)
    yield Runner(ctx, tmp_path, processes)
    await processes.close()


async def test_a_query_answers_with_columns_and_rows(runner: Runner) -> None:
    assert await runner.run(
        "SELECT carrier, name FROM airlines ORDER BY 1 LIMIT 2", "airlines"
    ) == [
        {"columns": ["carrier", "name"]},
        ["AA", "American"],
        ["B6", "JetBlue Air"],
    ]


async def test_rows_come_in_the_order_of_the_query(runner: Runner) -> None:
    _, *rows = await runner.run("SELECT range FROM range(5000) ORDER BY (range * 7919) % 5003")
    expected = sorted(range(5000), key=lambda n: n * 7919 % 5003)
    assert rows == [[number] for number in expected]


async def test_legitimate_statements_run_as_well_in_the_locked_process(runner: Runner) -> None:
    tables = ("flights", "airlines", "weather", "invoices")
    for statement in legitimate()[::6]:
        assert len(await runner.run(statement.rstrip(";"), *tables)) > 1, statement


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('{folder}/secret.txt')",
        "SELECT * FROM read_csv('{folder}/secret.txt')",
        "SELECT * FROM '{folder}/globex.parquet'",
        "SELECT * FROM read_parquet('{folder}/*.parquet')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM read_blob('/dev/fd/0')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM 'https://127.0.0.1/x.csv'",
        "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
        "SELECT getenv('HOME')",
        "COPY airlines TO '{folder}/out.csv'",
        "COPY airlines TO '/dev/fd/1'",
        "ATTACH '{folder}/x.db' AS x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_paths = ['{folder}/secret.txt']",
        "RESET lock_configuration",
        "SET threads = 64",
        "PRAGMA enable_profiling",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW airlines",
        "EXPORT DATABASE '{folder}/x'",
        "SELECT 1; SELECT 2",
        "EXPLAIN ANALYZE SELECT 1",
        "CALL duckdb_settings()",
        "PREPARE x AS SELECT 1",
        "EXECUTE x",
        "SELECT 1, 2) AS a; DROP VIEW IF EXISTS airlines;"
        " SELECT * FROM (VALUES ('a', 'INTEGER'), ('b', 'INTEGER')",
    ],
)
async def test_what_would_reach_outside_fails_even_without_the_guard(
    runner: Runner, statement: str
) -> None:
    before = {path.name: path.stat().st_size for path in runner.folder.iterdir()}
    with pytest.raises(QueryFailed) as failed:
        await runner.run(statement.format(folder=runner.folder), "airlines")
    assert "canary" not in failed.value.message
    assert {path.name: path.stat().st_size for path in runner.folder.iterdir()} == before


def test_duckdb_is_locked_whatever_statement_runs(tmp_path: Path) -> None:
    script = (
        "import sys, duckdb\n"
        "from tenantry.connectors import duckdb_child\nfrom tenantry.core import sandbox\n"
        "limits = sandbox.Limits(1 << 28, 3, 60)\n"
        "connection = duckdb_child._connect(limits, [5])\n"
        "def setting(name):\n"
        "    return connection.execute(f\"SELECT current_setting('{name}')\").fetchone()[0]\n"
        "(path,) = setting('allowed_paths')\n"
        "assert path.endswith('/fd/5'), path\n"
        "for name in ('enable_external_access', 'autoload_known_extensions',\n"
        "             'autoinstall_known_extensions', 'allow_community_extensions',\n"
        "             'allow_unsigned_extensions', 'python_enable_replacements'):\n"
        "    assert setting(name) is False, name\n"
        "assert setting('lock_configuration') is True\n"
        "assert (setting('threads'), setting('temp_directory')) == (3, '')\n"
        "assert setting('TimeZone') == 'UTC'\n"
        "for statement in sys.argv[2:]:\n"
        "    try:\n"
        "        connection.execute(statement.format(folder=sys.argv[1]))\n"
        "    except duckdb.Error:\n"
        "        continue\n"
        "    sys.exit(f'{statement} was possible')\n"
    )
    statements = [
        "SET enable_external_access = true",
        "SET allowed_paths = ['{folder}/x']",
        "SET threads = 64",
        "SET memory_limit = '64GB'",
        "SET temp_directory = '{folder}'",
        "RESET lock_configuration",
        "COPY (SELECT 1) TO '{folder}/x.csv'",
        "ATTACH '{folder}/x.db'",
        "INSTALL httpfs",
        "LOAD '{folder}/x.duckdb_extension'",
        "EXPORT DATABASE '{folder}/x'",
        "SELECT * FROM read_text('/etc/passwd')",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
    ]
    subprocess.run(
        [sys.executable, "-I", "-c", script, str(tmp_path), *statements],
        check=True, env={},
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


async def test_a_table_is_no_name_of_a_variable_of_the_program(runner: Runner) -> None:
    for name in ("job", "descriptors", "limits", "connection", "_STATEMENTS", "sys"):
        with pytest.raises(QueryFailed, match="does not exist"):
            await runner.run(f"SELECT * FROM {name}")


async def test_hostile_names_of_tables_and_columns_are_only_names(runner: Runner) -> None:
    hostile = 'x"; DROP VIEW y; --'
    quoted = '"' + hostile.replace('"', '""') + '"'
    with (runner.folder / "airlines.parquet").open("rb") as file:
        sql = f'SELECT count(*) AS "a""; --" FROM {quoted}'
        job = Job({"op": "query", "sql": sql, "tables": [hostile]}, [file.fileno()])
        assert await runner.do(job) == [{"columns": ['a"; --']}, [4]]


async def test_the_process_has_no_environment_and_no_foreign_descriptor(ctx: TenantContext) -> None:
    process = await DuckDbProcess.start(_LIMITS)
    try:
        await _until_waiting(process.pid)
        assert Path(f"/proc/{process.pid}/environ").read_bytes() == b""
        links = [str(p.readlink()) for p in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert sorted(link.split(":")[0] for link in links) == ["/dev/null", "pipe", "socket"]
    finally:
        await process.kill()


@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
async def test_the_kernel_confines_the_process_before_it_runs_anything(runner: Runner) -> None:
    async with runner.processes.lend(runner.ctx) as process:
        await _until_waiting(process.pid)
        process.send(Job({"op": "query", "sql": _ENDLESS, "tables": []}, []))
        status = Path(f"/proc/{process.pid}/status")
        # Landlock leaves no other mark: a process may only confine itself once it has given up
        # ever gaining privileges.
        for _ in range(500):
            if "NoNewPrivs:\t1" in status.read_text():
                return
            await asyncio.sleep(0.01)
    pytest.fail("it runs a query without being confined")


async def test_each_job_has_a_process_of_its_own_and_none_outlives_it(runner: Runner) -> None:
    warmed = DuckDbProcesses(_LIMITS, Slots(3, 2), keep_spare=True)
    runner = replace(runner, processes=warmed, pids=[])
    for _ in range(4):
        await runner.run("SELECT 1")
    assert len(set(runner.pids)) == 4
    assert not any(Path(f"/proc/{pid}").exists() for pid in runner.pids)
    await warmed.close()


async def test_a_spare_process_that_died_is_replaced(runner: Runner) -> None:
    warmed = DuckDbProcesses(_LIMITS, Slots(3, 2), keep_spare=True)
    runner = replace(runner, processes=warmed)
    warmed.warm()
    for signal_number in (9, 15):
        spare = await _child(exclude=runner.pids)
        os.kill(spare, signal_number)
        await _gone(spare)
        assert await runner.run("SELECT 1") == [{"columns": ["1"]}, [1]]
    await warmed.close()


async def test_a_closed_lender_leaves_no_process(runner: Runner) -> None:
    warmed = DuckDbProcesses(_LIMITS, Slots(3, 2), keep_spare=True)
    await replace(runner, processes=warmed).run("SELECT 1")
    spare = await _child(exclude=runner.pids)
    await warmed.close()
    await warmed.close()
    assert not Path(f"/proc/{spare}").exists()


async def test_a_process_ends_with_the_server_that_started_it() -> None:
    process = await DuckDbProcess.start(_LIMITS)
    process.send(Job({"op": "query", "sql": _ENDLESS, "tables": []}, []))
    await asyncio.sleep(0.5)
    process._channel.close()  # as the operating system does for a server that is gone
    await _gone(process.pid)
    await process.kill()


async def test_a_killed_process_is_a_clear_failure(runner: Runner) -> None:
    async with runner.processes.lend(runner.ctx) as process:
        process.send(Job({"op": "query", "sql": _ENDLESS, "tables": []}, []))
        os.kill(process.pid, 9)
        with pytest.raises(QueryFailed, match="ended before it was done"):
            _ = [answer async for answer in answers(process, 1000)]


async def test_too_much_memory_is_a_clear_failure(runner: Runner) -> None:
    for statement in (
        "SELECT * FROM range(100000000) ORDER BY random()",
        "SELECT lpad('x', 1000000, 'y') AS s FROM range(3000)",
    ):
        with pytest.raises(QueryFailed, match="memory"):
            await runner.run(statement)


async def test_too_much_processor_time_ends_the_process(ctx: TenantContext) -> None:
    processes = DuckDbProcesses(Limits(256 << 20, 1, 1), Slots(1, 1), keep_spare=False)
    async with processes.lend(ctx) as process:
        process.send(Job({"op": "query", "sql": _ENDLESS, "tables": []}, []))
        with pytest.raises(QueryFailed, match="ended before it was done"):
            _ = [answer async for answer in answers(process, 1000)]
    await processes.close()


async def test_a_line_longer_than_allowed_is_not_kept(runner: Runner) -> None:
    async with runner.processes.lend(runner.ctx) as process:
        sql = "SELECT lpad('x', 9000000, 'y')"
        process.send(Job({"op": "query", "sql": sql, "tables": []}, []))
        with pytest.raises(LineTooLong):
            _ = [answer async for answer in answers(process, 100_000)]


async def test_a_job_too_large_to_be_handed_over_is_refused(runner: Runner) -> None:
    sql = "SELECT '" + "x" * 5_000_000 + "'"
    async with runner.processes.lend(runner.ctx) as process:
        with pytest.raises(QueryFailed):
            process.send(Job({"op": "query", "sql": sql, "tables": []}, []))


@pytest.mark.parametrize("script", ["print('not json')", "print('[1]')", "", "print('{')"])
async def test_a_process_that_says_something_else_is_a_failure(script: str) -> None:
    process = await _impostor(script)
    with pytest.raises(QueryFailed):
        _ = [answer async for answer in answers(process, 1000)]
    await process.kill()


async def _impostor(script: str) -> DuckDbProcess:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", script, stdout=asyncio.subprocess.PIPE
    )
    ours, theirs = socket.socketpair()
    theirs.close()
    return DuckDbProcess(started, ours)


def _children() -> list[int]:
    tasks = Path(f"/proc/{os.getpid()}/task")
    found = (int(p) for task in tasks.iterdir() for p in (task / "children").read_text().split())
    return [p for p in found if b"duckdb_child" in Path(f"/proc/{p}/cmdline").read_bytes()]


async def _child(exclude: Sequence[int]) -> int:
    for _ in range(500):
        for pid in _children():
            if pid not in exclude:
                return pid
        await asyncio.sleep(0.01)
    raise AssertionError("no process was started")


async def _gone(pid: int) -> None:
    for _ in range(500):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or ") Z " in state.read_text():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the process still runs")


async def _until_waiting(pid: int) -> None:
    """Until it has loaded DuckDB and sleeps, waiting for a job."""
    for _ in range(500):
        loaded = "_duckdb" in Path(f"/proc/{pid}/maps").read_text()
        if loaded and ") S " in Path(f"/proc/{pid}/stat").read_text():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never waited")
