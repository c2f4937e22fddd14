"""Whether this process is alive, and whether it can serve."""

from typing import Any

from fastapi import APIRouter, Request

from tenantry.api.credentials import platform_of

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def ready(request: Request) -> dict[str, Any]:
    """The database answers too; 503 when it does not."""
    await platform_of(request).check_database()
    return {"status": "ready"}
