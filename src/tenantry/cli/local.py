"""`tenantry serve | migrate | doctor | operator-key`: what runs on the platform's own machine."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import TypeVar

import click

from tenantry.api.serving import keep_what_is_there, run, serving
from tenantry.cli.doctor import examine
from tenantry.cli.output import json_option, show, show_rows
from tenantry.core.clock import SystemClock
from tenantry.core.errors import NotFound, StartupRefused
from tenantry.core.ids import parse_id
from tenantry.core.secret import leave_no_core
from tenantry.core.settings import Settings
from tenantry.db.store import open_store
from tenantry.jobs.job import POOLS, Pool
from tenantry.platform import Platform, migrate_store, open_platform
from tenantry.security.scopes import OPERATOR_SCOPES, USUAL_OPERATOR_SCOPES
from tenantry.workers.child import working

T = TypeVar("T")


@click.command()
@click.option("--host", help="Address to listen on (TENANTRY_HOST).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 picks one (TENANTRY_PORT).")
@click.option(
    "--worker/--no-worker",
    "has_worker",
    default=True,
    show_default=True,
    help="Have a worker beside the server; --no-worker where `tenantry worker` runs elsewhere.",
)
def serve(host: str | None, port: int | None, has_worker: bool) -> None:
    """Run the server until it is stopped; starts the embedded PostgreSQL unless a URL is set."""
    settings = Settings.from_environment()
    settings = replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    leave_no_core()
    run(
        run_server(
            settings, lambda url: click.echo(f"Tenantry serves {url}"), has_worker=has_worker
        )
    )


async def run_server(
    settings: Settings, announce: Callable[[str], None], *, has_worker: bool
) -> None:
    """Serve until a signal ends it; `announce` gets the base URL once requests are answered."""
    async with (
        open_platform(settings) as platform,
        working() if has_worker else nullcontext(),
        serving(platform, settings.host, settings.port) as server,
    ):
        keep_what_is_there()
        announce(server.url)
        await server.wait()


@click.command()
@click.option(
    "--pool", "pools", multiple=True, type=click.Choice(POOLS), help="Whose jobs; all unless given."
)
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True)
@click.option(
    "--heartbeat",
    type=click.FloatRange(2, 600),
    default=30,
    show_default=True,
    help="Seconds without a sign of life after which a job goes to another worker.",
)
@click.option(
    "--memory-mb",
    type=click.IntRange(256),
    default=4096,
    show_default=True,
    help="What the process may use; the processes that read documents have limits of their own.",
)
@click.option("--with-parent", is_flag=True, hidden=True)
def worker(
    pools: tuple[Pool, ...],
    concurrency: int,
    heartbeat: float,
    memory_mb: int,
    with_parent: bool,
) -> None:
    """Do the tenants' durable work: read documents, keep house. Run as many as there is work."""
    try:  # the library comes with an extra
        from tenantry.workers.process import work
        from tenantry.workers.worker import WorkerOptions
    except ModuleNotFoundError as error:
        raise StartupRefused("Workers need an extra: pip install 'tenantry[workers]'.") from error

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    options = WorkerOptions(pools or POOLS, concurrency, heartbeat, memory_mb << 20)
    run(work(Settings.from_environment(), options, with_parent=with_parent))


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database to this version; creates roles and secrets on the first run.

    With TENANTRY_DATABASE_URL, its user must be an administrator of that server.
    """
    with open_store(Settings.from_environment(), create_secrets=True) as store:
        applied = migrate_store(store)
    if as_json:
        show({"applied": applied}, as_json)
    else:
        click.echo("\n".join(f"applied {name}" for name in applied) or "Already up to date.")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation: database, roles, policies, audit log, providers, data files."""
    findings = asyncio.run(examine(Settings.from_environment()))
    rows = [{"check": f.check, "ok": f.ok, "detail": f.detail} for f in findings]
    show_rows(rows, as_json)
    if not all(f.ok for f in findings):
        sys.exit(1)


@click.group("operator-key")
def operator_key() -> None:
    """Issue or end operator keys; needs access to this machine's secrets file."""


@operator_key.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(sorted(OPERATOR_SCOPES)))
def create_operator_key(name: str, scopes: tuple[str, ...]) -> None:
    """Issue an operator key; printed once. A SaaS backend needs only --scope tokens:mint."""
    chosen = scopes or tuple(USUAL_OPERATOR_SCOPES)
    key = with_platform(lambda platform: platform.operators.create_key(name, chosen))
    click.echo(key.reveal())


@operator_key.command("list")
@json_option
def list_operator_keys(as_json: bool) -> None:
    """List operator keys, without their secrets."""
    rows = with_platform(lambda platform: platform.operators.list_keys())
    show_rows(rows, as_json)


@operator_key.command("revoke")
@click.argument("key_id")
def revoke_operator_key(key_id: str) -> None:
    """End an operator key now."""
    known = parse_id(key_id)
    if known is None:
        raise NotFound
    with_platform(lambda platform: platform.operators.revoke_key(known))
    click.echo("Revoked.")


def with_platform(work: Callable[[Platform], Awaitable[T]]) -> T:
    """Run `work` over a platform of this machine's settings, without its upkeep."""

    async def run() -> T:
        async with open_platform(Settings.from_environment(), SystemClock(), upkeep=False) as one:
            return await work(one)

    return asyncio.run(run())
