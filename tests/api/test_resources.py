"""The resource API as a tenant's own clients use it."""

import pytest

from tests.service import Service


@pytest.mark.req("USE-2")
async def test_the_platform_is_alive_and_ready(service: Service) -> None:
    nobody = service.client()
    assert (await nobody.get("/healthz")).body == {"status": "ok"}
    assert (await nobody.get("/readyz")).body == {"status": "ready"}


@pytest.mark.req("USE-2", "SEC-6")
async def test_a_new_tenant_has_an_owner_a_key_and_an_assistant(service: Service) -> None:
    me = (await service.acme.get("/v1/tenant")).body
    assert (me["name"], me["role"]) == ("acme", "owner")
    models = (await service.acme.get("/v1/models")).body["data"]
    assert [m["id"] for m in models if m["owned_by"] == "assistant"] == ["analyst"]


@pytest.mark.req("USE-2")
async def test_documents_are_added_once_listed_in_pages_and_removed(service: Service) -> None:
    for n in range(3):
        added = await service.acme.upload(
            "/v1/documents", f"{n}.md", f"# N{n}\n\nText {n}.".encode()
        )
        assert added.status == 201
    again = await service.acme.upload("/v1/documents", "0.md", b"# N0\n\nText 0.")
    first = (await service.acme.get("/v1/documents?limit=2")).body
    assert [d["title"] for d in first["data"]] == ["0.md", "1.md"]
    assert first["data"][0]["id"] == again.body["id"]
    rest = (await service.acme.get(f"/v1/documents?limit=2&cursor={first['next_cursor']}")).body
    assert [d["title"] for d in rest["data"]] == ["2.md"]
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    assert (await service.acme.delete(f"/v1/documents/{again.body['id']}")).status == 204
    assert (await service.acme.get(f"/v1/documents/{again.body['id']}")).status == 404


@pytest.mark.req("USE-2", "SEC-4")
async def test_a_cursor_of_a_neighbour_is_refused(service: Service) -> None:
    for client in (service.acme, service.globex):
        for n in range(2):
            await client.upload("/v1/documents", f"{n}.md", f"Text {n}".encode())
    cursor = (await service.globex.get("/v1/documents?limit=1")).body["next_cursor"]
    refused = await service.acme.get(f"/v1/documents?cursor={cursor}")
    assert (refused.status, refused.body["code"]) == (400, "invalid_request")


@pytest.mark.req("SEC-6")
async def test_a_backend_exchanges_its_key_for_a_short_lived_member_token(
    service: Service,
) -> None:
    body = {"tenant": "acme", "external_id": "jo@acme", "role": "analyst", "lifetime_s": 60}
    minted = await service.operator.post("/v1/tokens", body)
    assert minted.status == 201
    member = service.client(minted.body["token"])
    me = (await member.get("/v1/tenant")).body
    assert (me["name"], me["role"]) == ("acme", "analyst")
    again = await service.operator.post("/v1/tokens", body)
    assert again.body["member"]["id"] == minted.body["member"]["id"]
    assert (await member.get("/v1/members")).status == 403


@pytest.mark.req("USE-2", "SEC-4")
@pytest.mark.parametrize("header", ["X-Tenant-ID", "X-Org-Id", "X-Original-URL", "X-Role"])
async def test_a_header_that_names_a_tenant_is_refused_and_audited(
    service: Service, header: str
) -> None:
    theirs = service.tenants["globex"]["tenant"]["id"]
    refused = await service.acme.get("/v1/documents", headers={header: theirs})
    assert (refused.status, refused.body["code"]) == (403, "boundary_crossed")
    events = (await service.acme.get("/v1/audit?outcome=refused")).body["data"]
    assert [e["action"] for e in events] == ["request.tenant_header"]


@pytest.mark.req("USE-2", "SEC-4")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/members", {"external_id": "x", "role": "viewer"}),
        ("/v1/keys", {"name": "x"}),
        ("/v1/assistants", {"name": "x", "instructions": "y"}),
        ("/v1/chat/completions", {"model": "analyst", "messages": []}),
    ],
)
async def test_a_body_that_names_a_tenant_is_refused_and_audited(
    service: Service, path: str, body: dict[str, object]
) -> None:
    theirs = service.tenants["globex"]["tenant"]["id"]
    refused = await service.acme.post(path, {**body, "tenant_id": theirs})
    assert (refused.status, refused.body["code"]) == (403, "boundary_crossed")
    events = (await service.acme.get("/v1/audit?outcome=refused")).body["data"]
    assert [e["action"] for e in events] == ["request.tenant_field"]


@pytest.mark.req("USE-2")
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PUT", "/v1/documents", 405, "invalid_request"),
        ("GET", "/v1/documents?limit=0", 400, "invalid_request"),
        ("GET", "/v1/documents?cursor=zzz", 400, "invalid_request"),
        ("GET", "/v1/documents/not-an-id", 404, "not_found"),
        ("GET", "/v1/usage?since=2026-01-01", 400, "invalid_request"),
    ],
)
async def test_a_mistake_is_answered_with_a_problem_document(
    service: Service, method: str, path: str, status: int, code: str
) -> None:
    answer = await service.acme.call(method, path)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["request_id"] == answer.headers["x-request-id"]
    assert answer.body["error"]["message"] == answer.body["detail"]


@pytest.mark.req("SEC-6")
async def test_no_credential_a_wrong_one_and_a_foreign_kind_are_refused_alike(
    service: Service,
) -> None:
    for client in (service.client(), service.client("nonsense"), service.operator):
        refused = await client.get("/v1/documents")
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert (await service.acme.get("/v1/tenants")).status == 401


@pytest.mark.req("COST-5")
async def test_usage_is_reported_to_the_tenant_and_in_total_to_the_operator(
    service: Service,
) -> None:
    body = {"model": "embedded", "input": ["one text", "another"]}
    embedded = await service.acme.post("/v1/embeddings", body)
    assert len(embedded.body["data"][0]["embedding"]) == 384
    usage = (await service.acme.get("/v1/usage?by=model")).body
    assert usage["totals"]["input_tokens"] == embedded.body["usage"]["total_tokens"]
    assert (await service.globex.get("/v1/usage")).body["totals"]["calls"] == 0
    totals = (await service.operator.get("/v1/operator/usage")).body
    ids = [row["tenant_id"] for row in totals["data"]]
    assert ids == [service.tenants["acme"]["tenant"]["id"]]
    events = (await service.acme.get("/v1/usage/events?limit=1")).body
    assert sum(e["cost_picousd"] for e in events["data"]) == usage["totals"]["cost_picousd"]
    exported = (await service.acme.get("/v1/usage/export.csv")).body
    assert len(exported.splitlines()) == 2


@pytest.mark.req("SEC-4")
async def test_the_operator_verifies_the_whole_audit_log(service: Service) -> None:
    found = (await service.operator.post("/v1/operator/audit/verify")).body
    assert found["whole"]
    assert found["events"] > 0
    with service.admin() as admin:
        admin.execute("UPDATE tenantry.audit_events SET actor = 'nobody' WHERE seq = 1")
    found = (await service.operator.post("/v1/operator/audit/verify")).body
    assert not found["whole"]
    assert found["defects"]
