"""Accounts at model providers of the caller's tenant: added, tried out, rotated, removed."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request

from tenantry.api.bodies import OwnModelBody, ProviderAccountBody, ProviderAccountChangeBody
from tenantry.api.credentials import platform_of, tenant
from tenantry.api.members import Limit, known_id
from tenantry.core.secret import Secret
from tenantry.isolation.context import TenantContext
from tenantry.providers.own.accounts import Kept
from tenantry.providers.own.records import (
    AccountChange,
    Description,
    NewAccount,
    OwnAccount,
    stored_models,
)

router = APIRouter(prefix="/v1/provider-accounts", tags=["models"])


def account_json(account: OwnAccount) -> dict[str, Any]:
    """An account as the API shows it; its key is shown to nobody."""
    entry = account.entry
    return {
        "id": account.id,
        "name": entry.name,
        "kind": entry.kind,
        "base_url": entry.url,
        "max_tokens_field": entry.max_tokens_field,
        "models": stored_models(entry),
        "credential_version": account.credential_version,
        "created_at": account.created_at,
        "removed_at": account.removed_at,
    }


def _kept_json(kept: Kept) -> dict[str, Any]:
    return {**account_json(kept.account), "warnings": list(kept.warnings)}


def _models(given: Sequence[OwnModelBody]) -> list[dict[str, Any]]:
    return [model.model_dump() for model in given]


@router.get("")
async def list_provider_accounts(
    request: Request,
    ctx: Annotated[TenantContext, tenant("providers:read")],
    cursor: str | None = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Accounts, oldest first; removed ones whose names are still held have a `removed_at`."""
    platform = platform_of(request)
    after = platform.cursors.read_id(ctx.tenant, "provider_accounts", cursor)
    found = await platform.providers.accounts.list_accounts(ctx, after, limit + 1)
    rows = [account_json(account) for account in found]
    return platform.cursors.page(
        ctx.tenant, "provider_accounts", rows, limit, lambda row: row["id"]
    )


@router.post("", status_code=201)
async def create_provider_account(
    request: Request,
    body: ProviderAccountBody,
    ctx: Annotated[TenantContext, tenant("providers:write")],
) -> dict[str, Any]:
    """Add an account; its provider is asked once first, with the key given.

    Its models are named `account/model`. An account that has the name of one of the platform's
    takes its place for this tenant. `warnings` says what could be safer.
    """
    described = Description(body.kind, _models(body.models), body.base_url, body.max_tokens_field)
    new = NewAccount(body.name, described, Secret(body.key.get_secret_value()))
    return _kept_json(await platform_of(request).providers.accounts.create(ctx, new))


@router.get("/{provider_account_id}")
async def get_provider_account(
    request: Request,
    provider_account_id: str,
    ctx: Annotated[TenantContext, tenant("providers:read")],
) -> dict[str, Any]:
    """One account, without its key."""
    known = known_id(provider_account_id)
    return account_json(await platform_of(request).providers.accounts.get(ctx, known))


@router.patch("/{provider_account_id}")
async def change_provider_account(
    request: Request,
    provider_account_id: str,
    body: ProviderAccountChangeBody,
    ctx: Annotated[TenantContext, tenant("providers:write")],
) -> dict[str, Any]:
    """Give an account another key (rotation), other models or another base URL.

    Calls under way end with the earlier key; every later one uses the new. Another destination
    needs the key again.
    """
    change = AccountChange(
        body.base_url,
        body.max_tokens_field,
        None if body.models is None else _models(body.models),
        None if body.key is None else Secret(body.key.get_secret_value()),
    )
    known = known_id(provider_account_id)
    return _kept_json(await platform_of(request).providers.accounts.change(ctx, known, change))


@router.delete("/{provider_account_id}", status_code=204)
async def delete_provider_account(
    request: Request,
    provider_account_id: str,
    ctx: Annotated[TenantContext, tenant("providers:write")],
    release: bool = False,
) -> None:
    """Forget an account's key. Its name is held, so that what names it fails, until `release`.

    A released name may lead to the platform's account of that name again.
    """
    known = known_id(provider_account_id)
    await platform_of(request).providers.accounts.remove(ctx, known, release=release)


@router.post("/{provider_account_id}/test")
async def test_provider_account(
    request: Request,
    provider_account_id: str,
    ctx: Annotated[TenantContext, tenant("providers:write")],
) -> dict[str, Any]:
    """Ask the provider once with the stored key; a failure says what and why."""
    known = known_id(provider_account_id)
    warnings = await platform_of(request).providers.accounts.test(ctx, known)
    return {"ok": True, "warnings": list(warnings)}
