"""What a member approves is one call, whole: another in any part is another approval."""

from dataclasses import replace
from typing import Any

import pytest

from tenantry.connectors.exposure import Offer
from tenantry.connectors.operation_gate import OperationGate
from tenantry.core.events import AuditEvent, Json
from tenantry.core.ids import TenantId, new_id
from tenantry.isolation.context import Actor, ContextMint

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"sku": {"type": "string"}}}
OFFER = Offer("createOrder", "A new order.", "write", SCHEMA)
CALL: dict[str, Json] = {"body": {"sku": "s1"}}


class Unheard:
    """An audit log that nothing should reach."""

    async def record(self, *events: AuditEvent) -> None:
        raise AssertionError(events)


def _gate(connector: str = "shop") -> OperationGate:
    mint = ContextMint(bytes(32))
    actor = Actor("member", new_id(), "analyst")
    ctx = mint.mint(TenantId(new_id()), actor, frozenset(), "request", 10.0)
    return OperationGate(ctx, Unheard(), connector)


@pytest.mark.req("SEC-3")
def test_an_approval_is_of_one_call_in_every_part() -> None:
    asked = _gate().to_approve(OFFER, CALL, writes="approval")
    others = [
        _gate("warehouse").to_approve(OFFER, CALL, writes="approval"),
        *(
            _gate().to_approve(changed, CALL, writes="approval")
            for changed in (
                replace(OFFER, name="cancelOrder"),
                replace(OFFER, description="Another order."),
                replace(OFFER, schema={**SCHEMA, "required": ["sku"]}),
            )
        ),
        _gate().to_approve(OFFER, {"body": {"sku": "s2"}}, writes="approval"),
        _gate().to_approve(OFFER, {}, writes="approval"),
    ]
    assert asked is not None
    assert len({asked, *others}) == 1 + len(others)


@pytest.mark.req("SEC-3")
def test_the_order_of_arguments_makes_no_difference() -> None:
    calls: list[dict[str, Json]] = [
        {"a": 1, "b": {"c": 2, "d": 3}},
        {"b": {"d": 3, "c": 2}, "a": 1},
    ]
    digests = {_gate().to_approve(OFFER, call, writes="approval") for call in calls}
    assert len(digests) == 1


@pytest.mark.req("SEC-3")
def test_what_reads_and_what_may_write_freely_needs_none() -> None:
    assert _gate().to_approve(replace(OFFER, effect="read"), CALL, writes="approval") is None
    assert _gate().to_approve(OFFER, CALL, writes="allowed") is None
