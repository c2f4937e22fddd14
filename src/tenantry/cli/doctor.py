"""`tenantry doctor`: looks at everything an operator would, and says how to mend it."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenantry.core.errors import TenantryError
from tenantry.core.settings import Settings
from tenantry.isolation.policies import shared_surfaces
from tenantry.platform import Platform, open_platform

_LEAST_FREE_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `detail` says what was found, and how to mend it."""

    check: str
    ok: bool
    detail: str


async def examine(settings: Settings) -> list[Finding]:
    """Open the platform as `serve` would, and check each part; never raises on what it finds."""
    findings = [_disk(settings)]
    try:
        async with open_platform(settings, upkeep=False) as platform:
            findings.append(Finding("start", True, "roles, policies and migrations are in order"))
            for name, check in _CHECKS.items():
                findings.append(await _run(name, check, platform))
    except TenantryError as error:
        findings.append(Finding("start", False, error.message))
    return findings


async def _run(
    name: str, check: Callable[[Platform], Awaitable[tuple[bool, str]]], platform: Platform
) -> Finding:
    try:
        ok, detail = await check(platform)
    except TenantryError as error:
        return Finding(name, False, error.message)
    return Finding(name, ok, detail)


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return Finding("disk", free > _LEAST_FREE_BYTES, f"{free // 1024**2} MB free at {folder}")


async def _database(platform: Platform) -> tuple[bool, str]:
    await platform.check_database()
    kind = "embedded" if platform.store.embedded else "by URL"
    return True, f"PostgreSQL answers ({kind})"


async def _audit(platform: Platform) -> tuple[bool, str]:
    found = await platform.audit.verify()
    if found.defects:
        first = found.defects[0]
        return False, f"{len(found.defects)} broken links, first: {first.problem} at {first.seq}"
    return True, f"{found.events} events in {found.chains} chains, whole"


async def _models(platform: Platform) -> tuple[bool, str]:
    names = [route.name for route in platform.providers.platform.routes()]
    return bool(names), f"models: {', '.join(names)}"


async def _embedder(platform: Platform) -> tuple[bool, str]:
    vector = await platform.embedder.embed_query("Does the embedder answer?")
    return len(vector) == platform.embedder.dimension, f"{platform.embedder.name} answers"


async def _operators(platform: Platform) -> tuple[bool, str]:
    live = [row for row in await platform.operators.list_keys() if row["revoked_at"] is None]
    if not live:
        return False, "no operator key yet: run `tenantry operator-key create NAME`"
    return True, f"{len(live)} live operator keys"


async def _surfaces(platform: Platform) -> tuple[bool, str]:
    async with platform.operator_db.autocommit() as statements:
        found = await shared_surfaces(statements)
    if not found:
        return True, "no function of PostgreSQL shows tenants' SQL other sessions"
    # No row is shown by them, and no statement of a tenant's is run: worth knowing, not a fault.
    return True, (
        f"tenants' SQL could call {', '.join(found)}; a superuser withdraws each with "
        "REVOKE EXECUTE ON FUNCTION … FROM PUBLIC"
    )


_CHECKS = {
    "database": _database,
    "shared surfaces": _surfaces,
    "audit log": _audit,
    "models": _models,
    "embedder": _embedder,
    "operators": _operators,
}
