"""Jobs of the caller's tenant: what is under way, what failed and why, and what to do about it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from tenantry.api.bodies import JobBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id
from tenantry.api.streaming import event
from tenantry.core.errors import NotFound
from tenantry.isolation.context import TenantContext
from tenantry.jobs.job import Job, State
from tenantry.platform import Platform

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_LOOK_EVERY_S = 0.5


def job_json(job: Job) -> dict[str, Any]:
    """A job as the API shows it."""
    shown: dict[str, Any] = {
        "id": job.job_id,
        "object": "job",
        "pool": job.pool,
        "kind": job.kind,
        "state": job.state,
        "attempts": job.tries,
        "progress": {"done": job.steps_done, "total": job.steps_total},
        "error": {"code": job.error_code, "message": job.error} if job.error_code else None,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }
    if job.kind == "ingest":
        shown |= {"document_id": job.subject, "title": job.arguments.get("title")}
    return shown


@router.get("")
async def list_jobs(
    request: Request,
    ctx: Annotated[TenantContext, tenant("documents:read")],
    state: State | None = None,
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Jobs, oldest first; `state=failed` lists the dead letters."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "jobs", cursor)
    rows = [job_json(job) for job in await platform.jobs.list_jobs(ctx, after, limit + 1, state)]
    return platform.cursors.page(ctx.tenant, "jobs", rows, limit, lambda row: row["id"])


@router.get("/{job_id}")
async def get_job(
    request: Request, job_id: str, ctx: Annotated[TenantContext, tenant("documents:read")]
) -> dict[str, Any]:
    """One job."""
    return job_json(await platform_of(request).jobs.get(ctx, known_id(job_id)))


@router.get("/{job_id}/events")
async def follow_job(
    request: Request, job_id: str, ctx: Annotated[TenantContext, tenant("documents:read")]
) -> StreamingResponse:
    """Server-sent events: the job whenever it changes, until it is over or time is up."""
    platform = platform_of(request)
    job = await platform.jobs.get(ctx, known_id(job_id))
    return StreamingResponse(_events(platform, ctx, job), media_type="text/event-stream")


@router.patch("/{job_id}")
async def change_job(
    request: Request,
    job_id: str,
    body: JobBody,
    ctx: Annotated[TenantContext, tenant("documents:write")],
) -> dict[str, Any]:
    """Cancel a job, pause it, or let it wait for its turn (again, after a pause or a failure)."""
    platform = platform_of(request)
    return job_json(await platform.jobs.bring(ctx, known_id(job_id), body.state))


@router.delete("/{job_id}", status_code=204)
async def discard_job(
    request: Request, job_id: str, ctx: Annotated[TenantContext, tenant("documents:write")]
) -> None:
    """Remove a job and the bytes it was given; one that is under way is over by that."""
    await platform_of(request).jobs.discard(ctx, known_id(job_id))


async def _events(platform: Platform, ctx: TenantContext, job: Job) -> AsyncIterator[bytes]:
    shown: Job | None = None
    while True:
        if job != shown:
            shown = job
            yield event(job_json(job))
        if job.is_finished or platform.clock.monotonic() > ctx.deadline:
            return
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            job = await platform.jobs.get(ctx, job.job_id)
        except NotFound:
            return
