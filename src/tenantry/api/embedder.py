"""What the caller's tenant is embedded with, and its change while it is searched (VEC-3)."""

from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.bodies import EmbedderBody
from tenantry.api.credentials import operator, platform_of, tenant
from tenantry.api.problems import request_id_of
from tenantry.api.tenants import named_tenant
from tenantry.isolation.context import TenantContext
from tenantry.knowledge.reembedding import Standing, Wish
from tenantry.security.auth import Operator
from tenantry.vectors.versions import Choice

router = APIRouter(prefix="/v1", tags=["documents"])


def _choice_json(choice: Choice, version: int) -> dict[str, Any]:
    return {
        "model": choice.embedder,
        "dimension": choice.dimension,
        "is_default": choice.is_default,
        "query_prefix": choice.query_prefix,
        "passage_prefix": choice.passage_prefix,
        "version": version,
    }


def _standing_json(found: Standing) -> dict[str, Any]:
    """What is in force, and what comes; a job that is over but did not get there is `failed`."""
    change = None
    if found.coming is not None:
        job = found.job
        change = {
            **_choice_json(found.coming.choice, found.coming.number),
            "state": "cancelled" if job is None else job.state,
            "job": None if job is None else job.job_id,
            "passages_done": 0 if job is None else job.steps_done,
            "passages": 0 if job is None else job.steps_total,
            "error_code": "" if job is None else job.error_code,
            "error": "" if job is None else job.error,
        }
    return {**_choice_json(found.choice, found.version), "change": change}


def _wish(body: EmbedderBody) -> Wish:
    return Wish(body.model, body.dimension, body.query_prefix, body.passage_prefix)


@router.get("/embedder")
async def show_embedder(
    request: Request, ctx: Annotated[TenantContext, tenant("providers:read")]
) -> dict[str, Any]:
    """What the tenant's documents and questions are embedded with, and what it is changing to."""
    return _standing_json(await platform_of(request).reembedding.standing(ctx))


@router.put("/embedder")
async def choose_embedder(
    request: Request,
    body: EmbedderBody,
    ctx: Annotated[TenantContext, tenant("providers:write")],
) -> dict[str, Any]:
    """Have documents and questions embedded by another model.

    The model is called once, to try it. Then a job embeds every passage anew; searches go on as
    before until all are, and are by the new model from one moment on.
    """
    return _standing_json(await platform_of(request).reembedding.choose(ctx, _wish(body)))


@router.delete("/embedder/change", status_code=204)
async def cancel_embedder_change(
    request: Request, ctx: Annotated[TenantContext, tenant("providers:write")]
) -> None:
    """Give up the change that is under way; what is in force stays."""
    await platform_of(request).reembedding.cancel(ctx)


@router.get("/tenants/{tenant_id}/embedder")
async def show_embedder_of_tenant(
    request: Request, tenant_id: str, caller: Annotated[Operator, operator("tenants:write")]
) -> dict[str, Any]:
    """What a tenant is embedded with, for the operator."""
    ctx = await _in_tenant(request, caller, tenant_id)
    return _standing_json(await platform_of(request).reembedding.standing(ctx))


@router.put("/tenants/{tenant_id}/embedder")
async def choose_embedder_of_tenant(
    request: Request,
    tenant_id: str,
    body: EmbedderBody,
    caller: Annotated[Operator, operator("tenants:write")],
) -> dict[str, Any]:
    """Have a tenant embedded by another model; recorded in the tenant's log."""
    ctx = await _in_tenant(request, caller, tenant_id)
    return _standing_json(await platform_of(request).reembedding.choose(ctx, _wish(body)))


async def _in_tenant(request: Request, caller: Operator, tenant_id: str) -> TenantContext:
    platform = platform_of(request)
    found = await named_tenant(platform, tenant_id)
    return platform.authenticator.for_operator(caller, found.id, request_id_of(request))
