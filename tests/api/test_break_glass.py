"""Break-glass access over HTTP: for a reason, for a while, on the tenant's own record."""

from typing import Any

import pytest

from tests.service import Answer, ApiClient, Service

pytestmark = pytest.mark.req("DB-5")
REASON = "Ticket 4711: answers stopped citing the handbook"


@pytest.fixture
async def glass(service: Service) -> ApiClient:
    """An operator whose key was given the scope by name."""
    key = await service.platform.operators.create_key("responder", ["break-glass"])
    return service.client(key.reveal())


async def opened(glass: ApiClient, **change: Any) -> Answer:
    """An attempt to open acme."""
    return await glass.post("/v1/tenants/acme/break-glass", {"reason": REASON, **change})


async def test_an_operator_reads_one_tenant_and_the_tenant_sees_it(
    service: Service, glass: ApiClient
) -> None:
    for client, word in ((service.acme, "acme-word"), (service.globex, "globex-word")):
        assert (await client.upload("/v1/documents", "n.md", f"# {word}".encode())).status == 201
    grant = await opened(glass)
    assert grant.status == 201
    asked = {"token": grant.body["token"], "table": "chunks"}
    read = await glass.post("/v1/operator/break-glass/rows", asked)
    assert read.status == 200
    assert "acme-word" in str(read.body["data"])
    assert "globex-word" not in str(read.body["data"])
    assert "embedding" not in read.body["data"][0]
    listed = (await glass.get("/v1/operator/break-glass")).body["data"]
    assert [row["id"] for row in listed] == [grant.body["id"]]
    assert grant.body["token"] not in str(listed)
    log = (await service.acme.get("/v1/audit?limit=100")).body["data"]
    seen = {row["action"]: row["detail"] for row in log}
    assert seen["break_glass.opened"]["reason"] == REASON
    assert "break_glass.read" in seen
    theirs = (await service.globex.get("/v1/audit?limit=100")).body["data"]
    assert not any(row["action"].startswith("break_glass") for row in theirs)


async def test_a_closed_grant_reads_nothing_more(service: Service, glass: ApiClient) -> None:
    grant = (await opened(glass)).body
    path = f"/v1/operator/break-glass/{grant['id']}"
    assert (await glass.delete(path)).status == 204
    assert (await glass.delete(path)).status == 404
    asked = {"token": grant["token"], "table": "messages"}
    refused = await glass.post("/v1/operator/break-glass/rows", asked)
    assert (refused.status, refused.body["code"]) == (403, "forbidden")
    ended = (await glass.get("/v1/operator/break-glass?ended=true")).body["data"]
    assert ended[0]["closed_at"] is not None


async def test_keys_without_the_scope_open_list_and_read_nothing(
    service: Service, glass: ApiClient
) -> None:
    usual = service.client((await service.platform.operators.create_key("usual")).reveal())
    token = (await opened(glass)).body["token"]
    asked = {"token": token, "table": "messages"}
    for client, status in ((usual, 403), (service.acme, 401), (service.client(), 401)):
        assert (await opened(client)).status == status
        assert (await client.get("/v1/operator/break-glass")).status == status
        assert (await client.post("/v1/operator/break-glass/rows", asked)).status == status


@pytest.mark.parametrize(
    ("change", "status"),
    [({"reason": "short"}, 400), ({"minutes": 61}, 400), ({"minutes": 0}, 400)],
)
async def test_a_grant_needs_a_reason_and_an_end(
    glass: ApiClient, change: dict[str, Any], status: int
) -> None:
    assert (await opened(glass, **change)).status == status


@pytest.mark.parametrize("table", ["api_keys", "vault_secrets", "pg_class", "chunks; DROP"])
async def test_only_content_is_read_never_keys(glass: ApiClient, table: str) -> None:
    asked = {"token": (await opened(glass)).body["token"], "table": table}
    refused = await glass.post("/v1/operator/break-glass/rows", asked)
    assert refused.status == 400
    assert "Read one of" in refused.body["detail"]


async def test_an_unknown_tenant_is_not_found(glass: ApiClient) -> None:
    body = {"reason": REASON}
    assert (await glass.post("/v1/tenants/nobody/break-glass", body)).status == 404
