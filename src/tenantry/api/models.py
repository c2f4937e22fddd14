"""`GET /v1/models`: what the tenant may use: its assistants, and models by their raw names."""

from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.credentials import platform_of, tenant
from tenantry.api.embeddings import EMBEDDED_MODEL
from tenantry.core.errors import NotFound
from tenantry.isolation.context import TenantContext
from tenantry.platform import Platform
from tenantry.security.cursors import START

router = APIRouter(prefix="/v1/models", tags=["models"])
_MOST_ASSISTANTS = 500


@router.get("")
async def list_models(
    request: Request, ctx: Annotated[TenantContext, tenant("chat")]
) -> dict[str, Any]:
    """Everything that can be named as `model` in a request."""
    return {"object": "list", "data": await _models(platform_of(request), ctx)}


@router.get("/{model_name:path}")
async def get_model(
    request: Request, model_name: str, ctx: Annotated[TenantContext, tenant("chat")]
) -> dict[str, Any]:
    """One model."""
    for model in await _models(platform_of(request), ctx):
        if model["id"] == model_name:
            return model
    raise NotFound


async def _models(platform: Platform, ctx: TenantContext) -> list[dict[str, Any]]:
    assistants = await platform.assistants.list_assistants(ctx, START, _MOST_ASSISTANTS)
    found = [
        _model(assistant.name, "assistant", int(assistant.created_at.timestamp()))
        for assistant in assistants
    ]
    for name, is_own in (await platform.providers.raw_models(ctx)).items():
        found.append(_model(name, "own_account" if is_own else "provider", 0))
    found.append(_model(EMBEDDED_MODEL, "embedder", 0))
    return found


def _model(name: str, kind: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": kind}
