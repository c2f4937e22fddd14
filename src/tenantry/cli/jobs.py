"""`tenantry jobs`: what is under way for a tenant, what failed, and what to do about it."""

import asyncio
from typing import Any

import click
import orjson

from tenantry.cli.client import Client
from tenantry.cli.output import json_option, show, show_rows

_STATES = ("waiting", "queued", "running", "paused", "done", "failed", "cancelled")
_SHOWN = ("id", "kind", "state", "progress", "attempts", "title", "error")


@click.group()
def jobs() -> None:
    """Look after the jobs of the tenant of TENANTRY_API_KEY."""


@jobs.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Only these; failed: the dead letters.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@json_option
def list_jobs(state: str | None, limit: int, as_json: bool) -> None:
    """List jobs, oldest first."""
    query: dict[str, str | int] = {"limit": limit}
    found = Client.from_environment().get(
        "/v1/jobs", **query, **({"state": state} if state else {})
    )
    rows = found["data"] if as_json else [_row(job) for job in found["data"]]
    show_rows(rows, as_json, () if as_json else _SHOWN)


@jobs.command("show")
@click.argument("job_id")
@click.option("--follow", is_flag=True, help="Show each change until the job is over.")
@json_option
def show_job(job_id: str, follow: bool, as_json: bool) -> None:
    """Show a job."""
    client = Client.from_environment()
    if follow:
        asyncio.run(_follow(client, job_id))
    else:
        show(client.get(f"/v1/jobs/{job_id}"), as_json)


@jobs.command("cancel")
@click.argument("job_id")
def cancel_job(job_id: str) -> None:
    """Cancel a job; what is under way has no effect any more."""
    _bring(job_id, "cancelled")


@jobs.command("pause")
@click.argument("job_id")
def pause_job(job_id: str) -> None:
    """Pause a job; `retry` lets it go on."""
    _bring(job_id, "paused")


@jobs.command("retry")
@click.argument("job_id")
def retry_job(job_id: str) -> None:
    """Let a failed, cancelled or paused job wait for its turn again."""
    _bring(job_id, "waiting")


@jobs.command("discard")
@click.argument("job_id")
def discard_job(job_id: str) -> None:
    """Remove a job, and the bytes it was given."""
    Client.from_environment().delete(f"/v1/jobs/{job_id}")
    click.echo("Removed.")


def _bring(job_id: str, state: str) -> None:
    job = Client.from_environment().patch(f"/v1/jobs/{job_id}", {"state": state})
    click.echo(f"{job['id']} is {job['state']}.")


async def _follow(client: Client, job_id: str) -> None:
    async with client.open("GET", f"/v1/jobs/{job_id}/events") as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                job = _row(orjson.loads(line.removeprefix(b"data: ")))
                click.echo(f"{job['state']}  {job['progress']}  {job['error']}".rstrip())


def _row(job: dict[str, Any]) -> dict[str, Any]:
    done, total, error = job["progress"]["done"], job["progress"]["total"], job["error"]
    return {
        **job,
        "progress": f"{done}/{total}" if total else "",
        "error": error["message"] if error else "",
        "title": job.get("title") or "",
    }
