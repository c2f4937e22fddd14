"""Attacks on the HTTP edge by a tenant that knows its victim's ids (api-02 to api-08)."""

import base64
import json
import random
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import jwt
import pytest
import pytest_asyncio

from tenantry.api.credentials import BOUNDARY_FIELDS, TENANT_HEADERS
from tests.isolation.matrix_requests import BODIES, request_for
from tests.isolation.served import (
    Estate,
    Operation,
    Tenant,
    estate,
    made,
    random_like,
    served_operations,
)
from tests.service import Answer, ApiClient
from tests.worlds import Cluster

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON_BODIES = [
    operation
    for operation in served_operations()
    if (operation.method, operation.path) in BODIES
    and not operation.is_operators
    and "json" in BODIES[operation.method, operation.path]({})
]
PAGED = (
    "members", "keys", "assistants", "conversations", "documents", "connectors", "patterns",
    "usage/events",
)  # fmt: skip
_CHAT = "/v1/chat/completions"
_OF_PROVIDERS = frozenset({_CHAT, "/v1/embeddings", "/v1/messages", "/v1/responses"})
"""Their fields are the providers': one that we do not know goes on to them as it is."""
_ASK = [{"role": "user", "content": "What do you know?"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Estate]:
    async with estate(cluster, tmp_path_factory.mktemp("attacks")) as served:
        for tenant in (served.attacker, served.victim):
            for _ in range(2):
                await tenant.document()
                await tenant.pattern()
                await tenant.conversation()
                await tenant.assistant()
        yield served


async def _ids(tenant: Tenant, operation: Operation) -> dict[str, str]:
    found: dict[str, str] = {}
    for parameter in operation.ids:
        found |= await tenant.ids_for(parameter)
    if operation.path == "/v1/patterns":
        found["connector"] = (await tenant.connector())["name"]
    return found


# api-02: mass assignment


@pytest.mark.req("SEC-4", "USE-2")
@pytest.mark.parametrize("operation", JSON_BODIES, ids=str)
async def test_no_body_may_say_whose_or_as_whom(served: Estate, operation: Operation) -> None:
    attacker, victim = served.attacker, served.victim
    target = request_for(operation, await _ids(attacker, operation))
    before = served.fingerprint(victim), served.fingerprint(attacker)
    for field in (*sorted(BOUNDARY_FIELDS), "Tenant_ID"):
        trace = served.trace(attacker)
        body = {**target.options["json"], field: str(victim.tenant_id)}
        answer = await attacker.owner.call(operation.method, target.path, json=body)
        assert (answer.status, answer.body["code"]) == (403, "boundary_crossed"), field
        assert served.trace(attacker) == [*trace, "request.tenant_field"]
    assert (served.fingerprint(victim), served.fingerprint(attacker)) == before


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    "operation", [o for o in JSON_BODIES if o.path not in _OF_PROVIDERS], ids=str
)
async def test_a_field_that_a_body_does_not_have_is_refused(
    served: Estate, operation: Operation
) -> None:
    target = request_for(operation, await _ids(served.attacker, operation))
    before = served.fingerprint(served.attacker)
    for field in ("is_admin", "member", "created_by", "key_id", "revoked_at", "__proto__"):
        body = {**target.options["json"], field: "x"}
        answer = await served.attacker.owner.call(operation.method, target.path, json=body)
        assert answer.status == 400, field
    assert served.fingerprint(served.attacker) == before


@pytest.mark.req("SEC-4")
async def test_a_tenant_nested_in_a_body_assigns_nothing(served: Estate) -> None:
    owner, theirs = served.attacker.owner, str(served.victim.tenant_id)
    before = served.fingerprint(served.victim)
    settings = {"name": "nested", "instructions": "x", "settings": {"tenant_id": theirs}}
    options = {"name": "nested", "kind": "files", "options": {"tenant_id": theirs}}
    assert (await owner.post("/v1/assistants", settings)).status == 400
    assert (await owner.post("/v1/connectors", options)).status == 400
    metadata = {"model": "analyst", "messages": _ASK, "metadata": {"tenant_id": theirs}}
    answer = made(await owner.post(_CHAT, metadata))
    mine = await owner.get(f"/v1/conversations/{answer['tenantry']['conversation_id']}")
    assert mine.status == 200
    assert served.fingerprint(served.victim) == before


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize("path", ["/v1/members", _CHAT])
async def test_a_key_written_twice_hides_nothing(served: Estate, path: str) -> None:
    theirs = str(served.victim.tenant_id)
    body = f'{{"tenant_id": "{theirs}", "role": "viewer", "tenant_id": null, "model": "analyst"}}'
    headers = {"content-type": "application/json"}
    answer = await served.attacker.owner.call("POST", path, data=body, headers=headers)
    assert (answer.status, answer.body["code"]) == (403, "boundary_crossed")


@pytest.mark.req("SEC-6")
async def test_of_a_role_written_twice_one_is_checked_and_that_one_counts(served: Estate) -> None:
    for roles in (("viewer", "owner"), ("owner", "viewer")):
        first, last = roles
        name = secrets.token_hex(4)
        body = f'{{"external_id": "{name}", "role": "{first}", "role": "{last}"}}'
        headers = {"content-type": "application/json"}
        answer = await served.attacker.admin.call("POST", "/v1/members", data=body, headers=headers)
        assert answer.status == (403 if last == "owner" else 201)
        if answer.status == 201:
            assert answer.body["role"] == "viewer"


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize("name", ["tenant", "tenant_id", "owner", "as_user", "member_id"])
async def test_a_query_that_names_another_tenant_changes_no_answer(
    served: Estate, name: str
) -> None:
    for path in ("/v1/documents", "/v1/members", "/v1/tenant", "/v1/usage/events"):
        plain = await served.attacker.owner.get(path)
        asked = await served.attacker.owner.get(f"{path}?{name}={served.victim.tenant_id}")
        assert asked.comparable == plain.comparable


@pytest.mark.req("SEC-6")
async def test_a_role_or_scope_above_ones_own_is_not_given(served: Estate) -> None:
    attacker = served.attacker
    me = made(await attacker.admin.get("/v1/tenant"))["member_id"]
    before = served.fingerprint(attacker)
    tries = (
        ("PATCH", f"/v1/members/{me}", {"role": "owner"}),
        ("POST", "/v1/members", {"external_id": "x", "role": "owner"}),
        ("POST", "/v1/keys", {"name": "x", "scopes": ["tenants:write"]}),
        ("POST", "/v1/keys", {"name": "x", "scopes": ["provision"]}),
    )
    for method, path, body in tries:
        answer = await attacker.admin.call(method, path, json=body)
        assert answer.status in {400, 403}, (path, body)
    assert served.fingerprint(attacker) == before


# api-03: headers


@pytest.mark.req("SEC-4", "USE-2")
@pytest.mark.parametrize("path", ["/v1/documents", "/v1/tenant", "/v1/models"])
async def test_headers_that_say_for_whom_are_refused(served: Estate, path: str) -> None:
    for header in sorted(TENANT_HEADERS):
        for value in (str(served.victim.tenant_id), "", str(served.attacker.tenant_id)):
            trace = served.trace(served.attacker)
            answer = await served.attacker.owner.get(path, headers={header.title(): value})
            assert (answer.status, answer.body["code"]) == (403, "boundary_crossed"), header
            assert served.trace(served.attacker) == [*trace, "request.tenant_header"]


@pytest.mark.req("SEC-4")
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Host", "globex.example"),
        ("X-Forwarded-Host", "globex.example"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Prefix", "/v1/operator"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1;host=globex.example"),
        ("Cookie", "tenant=globex; session=x"),
        ("X-Request-ID", "forged"),
        ("OpenAI-Organization", "globex"),
    ],
)
async def test_headers_of_proxies_and_clients_change_no_answer(
    served: Estate, header: str, value: str
) -> None:
    plain = await served.attacker.owner.get("/v1/tenant")
    told = await served.attacker.owner.get("/v1/tenant", headers={header: value})
    assert told.comparable == plain.comparable
    assert told.headers["x-request-id"] != value


@pytest.mark.req("SEC-4", "SEC-6")
async def test_of_two_credentials_none_is_added_to_the_other(served: Estate) -> None:
    mine, theirs = served.attacker.owner.credential, served.victim.viewer.credential
    headers = {"authorization": f"Bearer {mine}", "x-api-key": theirs}
    told = await served.service.client().get("/v1/tenant", headers=headers)
    assert told.body["name"] == "acme"
    tries = {"authorization": f"Bearer {mine}, Bearer {theirs}"}
    assert (await served.service.client().get("/v1/tenant", headers=tries)).status == 401


# api-04: cursors and conversations


@pytest.mark.req("SEC-4", "USE-2")
@pytest.mark.parametrize("collection", PAGED)
async def test_a_cursor_opens_only_the_list_and_tenant_it_was_made_for(
    served: Estate, collection: str
) -> None:
    path = f"/v1/{collection}"
    theirs = made(await served.victim.owner.get(f"{path}?limit=1"))["next_cursor"]
    mine = made(await served.attacker.owner.get(f"{path}?limit=1"))["next_cursor"]
    assert theirs
    assert (await served.attacker.owner.get(f"{path}?limit=1&cursor={mine}")).status == 200
    position = base64.urlsafe_b64decode(theirs)[16:]
    own_tag = base64.urlsafe_b64decode(mine)[:16]
    forged = [
        theirs,
        base64.urlsafe_b64encode(own_tag + position).decode(),
        base64.urlsafe_b64encode(bytes(16) + position).decode(),
        base64.urlsafe_b64encode(position).decode(),
        position.decode(), mine[:-4], f"{mine}AAAA", "", "=", "é", "%00", "A" * 5000,
    ]  # fmt: skip
    for other in set(PAGED) - {collection}:
        strange = made(await served.attacker.owner.get(f"/v1/{other}?limit=1"))["next_cursor"]
        forged.append(strange)
    for cursor in forged:
        trace = served.trace(served.attacker)
        answer = await served.attacker.owner.get(f"{path}?cursor={quote(cursor)}")
        assert answer.status == 400, cursor
        assert served.trace(served.attacker) == [*trace, "cursor.refused"]


@pytest.mark.req("SEC-4", "CTX-1")
@pytest.mark.parametrize("where", ["conversation_id", "metadata"])
async def test_nobody_else_speaks_in_a_conversation(served: Estate, where: str) -> None:
    victim = served.victim
    theirs, private = await victim.conversation(), await victim.conversation(victim.analyst)
    before = served.fingerprint(victim)

    async def speak(client: ApiClient, conversation: str) -> Answer:
        given = {"conversation_id": conversation}
        extra: dict[str, Any] = {"metadata": given} if where == "metadata" else given
        return await client.ask("What was said here?", **extra)

    unknown = await speak(served.attacker.owner, str(uuid4()))
    trace = served.trace(served.attacker)
    assert (await speak(served.attacker.owner, theirs)).comparable == unknown.comparable
    assert served.trace(served.attacker) == [*trace, "id.unknown"]
    # Not even the tenant's owner, in a conversation of another member of it.
    assert (await speak(victim.owner, private)).comparable == unknown.comparable
    assert (await speak(victim.viewer, theirs)).comparable == unknown.comparable
    assert unknown.status == 404
    assert served.fingerprint(victim) == before
    assert (await speak(victim.owner, theirs)).status == 200


# api-08: existence


@pytest.mark.req("SEC-4")
async def test_two_hundred_foreign_and_two_hundred_random_ids_are_one_answer(
    served: Estate,
) -> None:
    kinds = ("members", "keys", "assistants", "documents", "connectors", "patterns")
    foreign = []
    for kind in kinds:
        rows = made(await served.victim.owner.get(f"/v1/{kind}"))["data"]
        foreign += [f"/v1/{kind}/{row['id']}" for row in rows if kind != "keys"]
    pairs = []
    for n in range(200):
        kind, _, name = foreign[n % len(foreign)].rpartition("/")
        pairs += [f"{kind}/{name}", f"{kind}/{random_like({'id': name})['id']}"]
    random.Random(7).shuffle(pairs)
    answers = {str((await served.attacker.owner.get(path)).comparable) for path in pairs}
    assert len(pairs) == 400
    assert len(answers) == 1


# api-07: credentials


@pytest.mark.req("SEC-6")
async def test_keys_that_ended_or_were_changed_open_nothing(served: Estate) -> None:
    attacker = served.attacker
    made_key = made(await attacker.owner.post("/v1/keys", {"name": "old"}))
    old = served.service.client(made_key["api_key"])
    assert (await old.get("/v1/tenant")).status == 200
    path = f"/v1/keys/{made_key['id']}/rotate"
    new = served.service.client(made(await attacker.owner.post(path, {}))["api_key"])
    assert (await new.get("/v1/tenant")).status == 200
    short = made(await attacker.owner.post("/v1/keys", {"name": "s", "expires_in_s": 60}))
    with served.service.admin() as admin:
        admin.execute(
            "UPDATE tenantry.api_keys SET expires_at = now() - interval '1 s' WHERE key_id = %s",
            [UUID(short["id"])],
        )
    live = attacker.owner.credential
    wrong = [
        old.credential, short["api_key"], attacker.revoked.credential, live[:-1], live + "0",
        live.replace("live", "operator"), live.swapcase(), live[:17], "tnt_live_", "null",
        served.service.operator.credential,
    ]  # fmt: skip
    bodies = set()
    for credential in wrong:
        answer = await served.service.client(credential).get("/v1/tenant")
        assert answer.status == 401, credential[:9]
        bodies.add(str(answer.comparable))
    assert len(bodies) == 1


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.req("SEC-6")
async def test_tokens_that_we_did_not_sign_open_nothing(served: Estate) -> None:
    body = {"tenant": "acme", "external_id": "acme-viewer", "lifetime_s": 300}
    token = made(await served.service.operator.post("/v1/tokens", body))["token"]
    assert (await served.service.client(token).get("/v1/tenant")).status == 200
    head, claims, signature = token.split(".")
    said = jwt.decode(token, options={"verify_signature": False})
    theirs = made(await served.victim.owner.get("/v1/tenant"))
    foreign = {**said, "tid": theirs["id"], "sub": theirs["member_id"]}
    weak = secrets.token_bytes(32)
    none = _segment({"alg": "none", "typ": "JWT"})
    forged = [
        f"{none}.{_segment(foreign)}.", f"{none}.{claims}.", f"{none}.{claims}.{signature}",
        f"{head}.{_segment(foreign)}.{signature}", f"{head}.{claims}.",
        f"{_segment({'alg': 'HS512', 'typ': 'JWT'})}.{claims}.{signature}",
        f"{_segment({'alg': 'RS256', 'typ': 'JWT'})}.{claims}.{signature}",
        f"{_segment({'alg': 'HS256', 'jwk': {'kty': 'oct', 'k': 'AA'}})}.{claims}.{signature}",
        jwt.encode(foreign, weak, algorithm="HS256"),
        jwt.encode(said, weak, algorithm="HS256", headers={"kid": "../../dev/null"}),
        f"{token}.x", token[:-2], "..", "a.b.c",
    ]  # fmt: skip
    key = bytes.fromhex(served.service.cluster.secrets.token_key)
    genuine = (
        {**said, "aud": "elsewhere"}, {**said, "exp": 1}, {**said, "tid": theirs["id"]},
        {k: v for k, v in said.items() if k != "exp"}, {**said, "tid": "not-an-id"},
    )  # fmt: skip
    forged += [jwt.encode(changed, key, algorithm="HS256") for changed in genuine]
    before = served.fingerprint(served.victim)
    for credential in forged:
        answer = await served.service.client(credential).get("/v1/tenant")
        assert answer.status == 401, credential
    assert served.fingerprint(served.victim) == before


@pytest.mark.req("SEC-6")
async def test_a_token_never_grants_more_than_its_members_role(served: Estate) -> None:
    body = {"tenant": "acme", "external_id": "acme-viewer", "scopes": ["members:write"]}
    assert (await served.service.operator.post("/v1/tokens", body)).status == 403
    owner = {"tenant": "acme", "external_id": "acme-owner"}
    assert (await served.service.operator.post("/v1/tokens", owner)).status == 403
