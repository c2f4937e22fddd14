"""Which models the caller's tenant allows itself, and what stands in for one that cannot answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.bodies import ModelPolicyBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.isolation.context import TenantContext
from tenantry.providers.own.policy import ModelPolicy

router = APIRouter(prefix="/v1/model-policy", tags=["models"])


def _policy_json(policy: ModelPolicy) -> dict[str, Any]:
    return {
        "allowed": None if policy.allowed is None else sorted(policy.allowed),
        "fallbacks": {name: list(others) for name, others in policy.fallbacks.items()},
    }


@router.get("")
async def get_model_policy(
    request: Request, ctx: Annotated[TenantContext, tenant("providers:read")]
) -> dict[str, Any]:
    """The tenant's policy; by default every model is allowed, and nothing stands in."""
    return _policy_json(await platform_of(request).policies.get(ctx))


@router.put("")
async def set_model_policy(
    request: Request,
    body: ModelPolicyBody,
    ctx: Annotated[TenantContext, tenant("providers:write")],
) -> dict[str, Any]:
    """Replace the tenant's policy, whole.

    `fallbacks` are called in turn when a model cannot answer just now and nothing was used of it.
    The platform's key follows the tenant's own only where a fallback is written
    `platform:account/model`.
    """
    allowed = None if body.allowed is None else frozenset(body.allowed)
    policy = ModelPolicy(allowed, body.fallbacks)
    await platform_of(request).policies.set(ctx, policy)
    return _policy_json(policy)
