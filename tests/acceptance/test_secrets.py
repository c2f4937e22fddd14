"""After a full run no credential is found in any file, log, environment or argument (POOL-4).

The server is a process of its own with an embedded database. It is given credentials of every kind,
uses, mistakes and rotates them; then it is paused and looked at, stopped, and every byte that it
left on the disk is searched. What memory holds is not searched: a password in use is in it.
"""

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.databases import Database, on_mariadb, on_postgres
from tests.acceptance.process import ServerProcess, command, environment, served
from tests.api.conftest import providers_file
from tests.providers.replies import CallOf, Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import ApiClient
from tests.sources.json_api import DOCUMENT, json_api
from tests.sources.mariadb import mariadb_server, needs_mariadb
from tests.sources.postgres import postgres_server

pytestmark = [needs_mariadb, pytest.mark.timeout(600)]
_CONTROL = "needle-that-must-be-found"
_NEW, _WRONG, _TOKEN = "r0tated-K4W2-pass", "wr0ng-guess-88ZX", "tok-3f9a-acme-bearer-551"
_SQL = "SELECT region, total FROM orders ORDER BY id"


@pytest.fixture(scope="module")
def databases() -> Iterator[tuple[Database, Database]]:
    """One on each kind of server."""
    with mariadb_server() as mariadb, postgres_server() as postgres:
        yield on_mariadb(mariadb), on_postgres(postgres)


def _forms(secret: str) -> list[bytes]:
    """How a secret might stand somewhere: as it is, backwards, or encoded in a usual way."""
    raw = secret.encode()
    # Of a longer text in base64, what does not depend on its neighbours.
    shifted = [base64.b64encode(b"x" * n + raw)[4 : 4 * ((n + len(raw)) // 3)] for n in range(3)]
    return [raw, raw[::-1], raw.hex().encode(), secret.encode("utf-16-le"), *shifted]


def _found(secrets: Mapping[str, str], where: bytes) -> list[str]:
    return [name for name, text in secrets.items() if any(f in where for f in _forms(text))]


async def _use(acme: ApiClient, kind: str, options: Any, credentials: Mapping[str, str]) -> str:
    body = {"name": f"own-{kind}", "kind": kind, "options": options, "secrets": credentials}
    added = await acme.post("/v1/connectors", body)
    assert added.status == 201, added.body
    return f"/v1/connectors/{added.body['id']}"


async def _full_run(acme: ApiClient, database: Database) -> None:
    """Add, ask, mistake, rotate, ask again."""
    credentials = {"password": database.password}
    path = await _use(acme, database.kind, dict(database.options), credentials)
    assert (await acme.post(f"{path}/query", {"sql": _SQL})).status == 200
    assert (await acme.post(f"{path}/query", {"sql": "SELECT nope FROM orders"})).status == 422
    assert (await acme.post(f"{path}/query", {"sql": "SELECT * FROM salaries"})).status == 422
    wrong = await acme.call("PATCH", path, json={"secrets": {"password": _WRONG}})
    assert wrong.status == 422
    await asyncio.to_thread(database.rotate, _NEW)
    rotated = await acme.call("PATCH", path, json={"secrets": {"password": _NEW}})
    assert rotated.status == 200
    assert (await acme.post(f"{path}/query", {"sql": _SQL})).status == 200


async def _ask(acme: ApiClient, provider: ScriptedProvider) -> None:
    body = {"name": _CONTROL, "instructions": "Brief.", "model": "scripted/scripted-1"}
    assert (await acme.post("/v1/assistants", body)).status == 201
    asked = json.dumps({"connector": "own-postgres", "sql": _SQL})
    provider.queue(Reply(calls=(CallOf("query_data", asked),)), Reply("Sold [query:1]."))
    assert (await acme.ask("What sold?", _CONTROL)).status == 200


def _paused(server: ServerProcess, folder: Path) -> list[bytes]:
    """Environment and arguments of the server, stopped, and of every process that it started."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        while psutil.Process(server.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        root = Path("/proc") / str(server.pid)
        (limit,) = [ln for ln in (root / "limits").read_text().splitlines() if "core file" in ln]
        assert limit.split()[4:6] == ["0", "0"]  # a crash leaves no copy of the memory
        children = {p.pid for p in psutil.Process(server.pid).children(recursive=True)}
        database = {p.pid for p in psutil.process_iter() if str(folder) in " ".join(_arguments(p))}
        assert database  # PostgreSQL's, which outlive whoever started them
        return [
            (Path("/proc") / str(pid) / part).read_bytes()
            for pid in {server.pid} | children | database
            for part in ("environ", "cmdline")
        ]
    finally:
        os.kill(server.pid, signal.SIGCONT)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


@pytest.mark.req("POOL-4", "SEC-4")
async def test_no_credential_is_found_on_disk_in_the_log_or_in_a_paused_process(
    deployment_dir: Path, tmp_path: Path, databases: tuple[Database, Database]
) -> None:
    with ScriptedProvider() as provider:
        settings = environment(
            deployment_dir,
            TENANTRY_PROVIDERS_FILE=str(providers_file(tmp_path, provider)),
            TENANTRY_EGRESS_ALLOW="127.0.0.0/8",
        )
        secrets = {
            "rotated": _NEW,
            "mistaken": _WRONG,
            "token": _TOKEN,
            "provider's": "sk-scripted-secret",
        }
        secrets |= {each.kind: each.password for each in databases}
        log = tmp_path / "server.log"
        async with served(settings, log) as server, json_api() as api:
            status, key, errors = await command(settings, "operator-key", "create", "ops")
            assert status == 0, errors
            secrets["operator's key"] = key.strip()
            operator = ApiClient(server.base_url, key.strip())
            made = await operator.post(
                "/v1/tenants", {"name": "acme", "owner": {"external_id": "owner"}}
            )
            secrets["member's key"] = made.body["api_key"]
            acme = ApiClient(server.base_url, made.body["api_key"])
            for database in databases:
                await _full_run(acme, database)
            options = {"document": DOCUMENT, "base_url": api, "auth": {"kind": "bearer"}}
            path = await _use(acme, "http", options, {"token": _TOKEN})
            called = await acme.post(f"{path}/call", {"operation": "listOrders"})
            assert called.status == 200, called.body
            await _ask(acme, provider)
            audit = (await acme.get("/v1/audit?limit=1000")).raw
            seen = [*await asyncio.to_thread(_paused, server, deployment_dir), audit]
        seen.append(log.read_bytes())
    assert [found for text in seen if (found := _found(secrets, text))] == []
    await asyncio.to_thread(_search, deployment_dir, secrets)


def _search(folder: Path, secrets: Mapping[str, str]) -> None:
    """Every byte of every file: tables, indexes, write-ahead log, temporary files, the rest."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    told, is_control_found = [], False
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # PostgreSQL, which runs on, is done with it
        is_control_found |= _CONTROL.encode() in content
        told += [f"{name} in {path.relative_to(folder)}" for name in _found(secrets, content)]
    assert any("pg_wal" in path.parts for path in files)
    assert is_control_found  # or the search would prove nothing
    assert told == []
