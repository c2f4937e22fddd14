"""The two-tenant differ: every operation with an id, six ways, found in the OpenAPI document.

A foreign id and one that names nothing must be the same answer. A control that fails is a failure:
a suite that attacks nothing always passes.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.isolation.matrix_requests import NAMED_IN_BODIES, request_for
from tests.isolation.served import (
    Estate,
    Operation,
    estate,
    made,
    operations_of,
    random_like,
    served_operations,
)
from tests.service import Answer, ApiClient
from tests.worlds import Cluster

served_once = pytest.mark.asyncio(loop_scope="module")
OPERATIONS = served_operations()
WITH_ID = [o for o in OPERATIONS if o.ids and not o.is_operators]
IN_BODY = [
    pytest.param(operation, make, id=f"{operation}-{make.__name__.strip('_')}")
    for operation, makers in NAMED_IN_BODIES.items()
    for make in makers
]
LISTS = [o for o in OPERATIONS if o.method == "GET" and not o.ids and o.path.startswith("/v1/")]
TENANTS_LISTS = [o for o in LISTS if not o.is_operators]
OPERATORS = [o for o in OPERATIONS if o.is_operators]
ELSEWHERE = {
    Operation("/healthz", "GET"): "says only that the process lives; takes no credential",
    Operation("/readyz", "GET"): "says only that the store answers; takes no credential",
    Operation("/v1/members", "POST"): "creates; its body names no resource (test_http_attacks)",
    Operation("/v1/groups", "POST"): "creates; its body names no resource (test_http_attacks)",
    Operation("/v1/assistants", "POST"): "creates; its body names no resource (test_http_attacks)",
    Operation("/v1/documents", "POST"): "creates; its body names no resource (test_http_attacks)",
    Operation("/v1/connectors", "POST"): "creates; its body names no resource (test_http_attacks)",
    Operation("/v1/provider-accounts", "POST"): "creates; its body names no tenant's resource",
    Operation("/v1/model-policy", "PUT"): "sets; models of others are unknown to it",
    Operation("/v1/embedder", "PUT"): "sets; models of others are unknown to it",
    Operation("/v1/embedder/change", "DELETE"): "ends the tenant's own change; names nothing",
    Operation("/v1/budgets", "PUT"): "sets; a member, key or model of others is in no own call",
    Operation("/v1/messages", "POST"): "its body names models of the platform's accounts only",
    Operation("/v1/documents/search", "POST"): "another's document is one it does not have",
    Operation("/v1/embeddings", "POST"): "computes; its body names no tenant's resource",
}
"""Operations that neither name a resource nor list any, each with its reason."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_READS = frozenset({"/v1/connectors/{connector_id}/test"})
_FIGURES = frozenset({"/v1/usage", "/v1/alerts", "/v1/breakers", "/v1/fairness", "/v1/embedder"})
"""What happened, and how much, to the platform's own accounts and models: it may name nobody."""
_METERED = frozenset({"/v1/connectors/{connector_id}/query"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Estate]:
    async with estate(cluster, tmp_path_factory.mktemp("differ")) as served:
        for tenant in (served.attacker, served.victim):
            await tenant.document()
            await tenant.pattern()
            await tenant.conversation()
            await tenant.result()
            await tenant.assistant()
            await tenant.job()
            await tenant.budget()
            account = (await tenant.provider_account())["name"]
            policy = {"json": {"allowed": [f"{account}/*"]}}
            assert (await tenant.owner.call("PUT", "/v1/model-policy", **policy)).status == 200
        yield served


def uncovered(operations: list[Operation]) -> list[str]:
    """Operations that no test of this module attacks and no reason excuses."""
    covered = {*WITH_ID, *NAMED_IN_BODIES, *TENANTS_LISTS, *OPERATORS, *ELSEWHERE}
    return [str(operation) for operation in operations if operation not in covered]


async def call(client: ApiClient, operation: Operation, ids: Mapping[str, str]) -> Answer:
    target = request_for(operation, ids)
    return await client.call(operation.method, target.path, **target.options)


async def attack(served: Estate, operation: Operation, ids: Mapping[str, str]) -> None:
    """The five identities that must not succeed, then the owner, who must."""
    attacker, victim = served.attacker, served.victim
    before = served.fingerprint(victim)
    trace = served.trace(attacker)
    foreign = await call(attacker.owner, operation, ids)
    unknown = await call(attacker.owner, operation, random_like(ids))
    assert foreign.comparable == unknown.comparable
    assert foreign.status == 404
    assert served.trace(attacker) == [*trace, "id.unknown", "id.unknown"]
    for client in (served.nobody, attacker.revoked):
        assert (await call(client, operation, ids)).status == 401
    # What a colleague may do too, and what adds to the tenant's rows when it does.
    adds = "model" in ids or operation.path in _METERED
    if not adds:
        await colleague(served, operation, ids)
    assert served.fingerprint(victim) == before
    if adds:
        assert (await call(victim.viewer, operation, ids)).status == 200
    control = await call(victim.owner, operation, ids)
    assert control.status in {200, 201, 204}, control


async def colleague(served: Estate, operation: Operation, ids: Mapping[str, str]) -> None:
    """The victim's viewer: reads what the tenant shares, and nothing that is another member's."""
    answer = await call(served.victim.viewer, operation, ids)
    if {"conversation_id", "result_id", "approval_id"} & ids.keys():
        # A viewer's credential lacks the scope to approve, whosever it is.
        assert answer.status == (403 if operation.path.endswith("/approve") else 404)
    elif operation.method == "GET" or operation.path in _READS:
        assert answer.status in {200, 403}
    else:
        assert answer.status == 403


@served_once
@pytest.mark.req("SEC-4", "USE-2")
@pytest.mark.parametrize("operation", WITH_ID, ids=str)
async def test_an_id_in_a_path_leads_only_its_owner_to_its_resource(
    served: Estate, operation: Operation
) -> None:
    await attack(served, operation, await served.victim.ids_of(operation))


@served_once
@pytest.mark.req("SEC-4", "USE-2")
@pytest.mark.parametrize(("operation", "make"), IN_BODY)
async def test_an_id_in_a_body_leads_only_its_owner_to_its_resource(
    served: Estate, operation: Operation, make: Any
) -> None:
    await attack(served, operation, await make(served.victim))


@served_once
@pytest.mark.req("SEC-4", "USE-2")
@pytest.mark.parametrize("operation", TENANTS_LISTS, ids=str)
async def test_no_id_or_name_in_a_list_is_another_tenants(
    served: Estate, operation: Operation
) -> None:
    # Only the operator, who made both tenants, is named in both of their logs.
    with served.service.admin() as admin:
        rows = admin.execute("SELECT operator_id::text FROM tenantry.operators").fetchall()
    seen = {}
    for tenant, other in ((served.attacker, served.victim), (served.victim, served.attacker)):
        if operation.path == "/v1/approvals":
            await tenant.approval()  # now: it waits for five minutes only
        if operation.path == "/v1/groups":
            await tenant.group()
        text = _text(await call(tenant.owner, operation, {}))
        seen[tenant.name] = set(_UUID.findall(text)) - {row[0] for row in rows}
        assert f"{other.name}only" not in text
        assert str(other.tenant_id) not in text
        assert seen[tenant.name] or f"{tenant.name}only" in text or operation.path in _FIGURES
    assert not seen["acme"] & seen["globex"]


def _text(answer: Answer) -> str:
    assert answer.status == 200, answer
    return answer.raw.decode()


@served_once
@pytest.mark.req("SEC-4", "COST-5")
@pytest.mark.parametrize("by", ["day", "model", "tool", "connector", "assistant", "member"])
async def test_usage_is_the_callers_own_whatever_it_is_counted_by(served: Estate, by: str) -> None:
    await served.victim.conversation()
    theirs = made(await served.victim.owner.get(f"/v1/usage?by={by}"))
    before = made(await served.attacker.owner.get(f"/v1/usage?by={by}"))
    await served.victim.conversation()
    after = made(await served.attacker.owner.get(f"/v1/usage?by={by}"))
    assert (before["lines"], before["totals"]) == (after["lines"], after["totals"])
    later = made(await served.victim.owner.get(f"/v1/usage?by={by}"))
    assert later["totals"] != theirs["totals"]


@served_once
@pytest.mark.req("SEC-4", "SEC-6")
@pytest.mark.parametrize("operation", OPERATORS, ids=str)
async def test_operations_of_operators_are_closed_to_every_tenants_key(
    served: Estate, operation: Operation
) -> None:
    ids = await served.victim.operators_ids(operation)
    own = await served.attacker.operators_ids(operation)
    attacker, victim = served.attacker, served.victim
    before = served.whole_fingerprint()
    answers = [
        await call(client, operation, ids)
        for client in (
            attacker.owner, attacker.admin, attacker.viewer, attacker.revoked,
            victim.owner, victim.viewer, served.nobody,
        )
    ]  # fmt: skip
    assert {answer.status for answer in answers} <= {401, 403}
    assert len({str(answer.comparable) for answer in answers[:-1]}) == 1
    assert (await call(attacker.owner, operation, own)).comparable == answers[0].comparable
    assert served.whole_fingerprint() == before
    control = await call(served.service.operator, operation, ids)
    assert control.status in {200, 201, 204}, control


@pytest.mark.req("SEC-4")
def test_every_operation_is_attacked_or_excused() -> None:
    assert uncovered(OPERATIONS) == []
    assert len(WITH_ID) >= 23
    stale = [str(operation) for operation in ELSEWHERE if operation not in OPERATIONS]
    assert stale == []


@pytest.mark.req("SEC-4")
def test_an_operation_added_tomorrow_is_attacked_or_noticed() -> None:
    document: dict[str, Any] = {
        "paths": {"/v1/secrets": {"post": {}}, "/v1/documents": {"put": {}, "get": {}}}
    }
    assert uncovered(operations_of(document)) == ["PUT /v1/documents", "POST /v1/secrets"]
