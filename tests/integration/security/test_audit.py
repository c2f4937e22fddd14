"""The audit log: chained, append-only, verified, and readable by its own tenant alone."""

import pytest

from tenantry.core.events import AuditEvent, Json
from tenantry.security.audit import tenant_events
from tests.worlds import World


def _event(world: World, action: str = "test.happened") -> AuditEvent:
    return AuditEvent(world.acme.tenant, "member:x", action, "refused", "api", "some-target")


@pytest.mark.req("SEC-4")
async def test_an_event_is_chained_and_its_target_is_kept_as_a_keyed_digest(world: World) -> None:
    await world.audit.record(_event(world))
    await world.audit.record(_event(world))
    first, second = await world.audit_events(world.acme)
    assert second["previous_hash"] == first["hash"]
    assert first["target_digest"] == world.audit.digest("some-target")
    assert "some-target" not in str(first)
    verified = await world.audit.verify()
    assert (verified.events, verified.chains, verified.defects) == (2, 1, ())


@pytest.mark.req("SEC-4")
async def test_a_tenant_reads_its_own_events_and_never_its_neighbours(world: World) -> None:
    await world.audit.record(_event(world))
    assert [e["action"] for e in await tenant_events(world.acme, world.db)] == ["test.happened"]
    assert await tenant_events(world.globex, world.db) == []


@pytest.mark.req("SEC-4")
async def test_a_truncated_chain_contradicts_the_chain_of_heads(world: World) -> None:
    for _ in range(3):
        await world.audit.record(_event(world))
    assert await world.audit.anchor() == 1
    assert await world.audit.anchor() == 1  # nothing moved: no new link
    with world.admin() as admin:
        admin.execute("DELETE FROM tenantry.audit_events WHERE seq = 3")
        admin.execute(
            "UPDATE tenantry.audit_heads SET seq = 2, hash = "
            "(SELECT hash FROM tenantry.audit_events WHERE seq = 2)"
        )
    problems = [d.problem for d in (await world.audit.verify()).defects]
    assert problems == ["event recorded by an anchor is gone or changed"]


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize("text", ["tenant_id\x00", "\ud800", "\U000e0041", "x" * 100_000])
async def test_what_an_attacker_writes_is_recorded_whatever_characters_it_has(
    world: World, text: str
) -> None:
    detail: dict[str, Json] = {"arguments": [text], text: {"deep": text}}
    event = AuditEvent(world.acme.tenant, "member:x", "t.refused", "refused", "tool", text, detail)
    await world.audit.record(event)
    (recorded,) = await world.audit_events(world.acme)
    assert recorded["target_digest"]
    assert (await world.audit.verify()).defects == ()
