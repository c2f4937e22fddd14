"""Access lists over HTTP and by the command line: a group, a document for it, who finds it."""

import asyncio

import pytest
from click.testing import CliRunner

from tenantry.cli.main import cli
from tests.service import Service


@pytest.mark.req("VEC-2", "USE-2", "USE-3")
async def test_a_document_is_found_by_members_of_its_group_alone(service: Service) -> None:
    owner, outside = service.acme, {}
    for name in ("ana", "bob"):
        member = await owner.post("/v1/members", {"external_id": name, "role": "viewer"})
        body = {"name": name, "member_id": member.body["id"]}
        outside[name] = service.client((await owner.post("/v1/keys", body)).body["api_key"])

    async def run(*arguments: str) -> str:
        environment = {"TENANTRY_BASE_URL": owner.base_url, "TENANTRY_API_KEY": owner.credential}
        ran = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env=environment)
        assert ran.exit_code == 0, ran.output
        return ran.output

    async def finds(name: str) -> list[str]:
        answer = await outside[name].post("/v1/documents/search", {"query": "the merger"})
        return [passage["title"] for passage in answer.body["data"]]

    await run("group", "create", "legal")
    await run("group", "add", "legal", "ana")
    assert "ana" in await run("group", "members", "legal")
    text = b"# Plan\n\nThe merger is in May."
    plan = (await owner.upload("/v1/documents", "plan.md", text, {"groups": "legal"})).body
    assert (plan["is_restricted"], plan["groups"]) == (True, ["legal"])
    assert (await finds("ana"), await finds("bob")) == (["plan.md"], [])
    assert (await outside["bob"].get(f"/v1/documents/{plan['id']}")).status == 404
    assert "legal" in await run("document", "list")
    await run("group", "remove", "legal", "ana")
    assert await finds("ana") == []
    await run("document", "access", plan["id"], "--everybody")
    assert await finds("bob") == ["plan.md"]
    await run("group", "delete", "legal")
    for answer in (
        await outside["ana"].post("/v1/groups", {"name": "mine"}),
        await outside["ana"].call("PUT", f"/v1/documents/{plan['id']}/access", json={"groups": []}),
    ):
        assert answer.status == 403
    wrong = await owner.upload("/v1/documents", "b.md", b"# B\n\nText.", {"groups": "no-such"})
    assert wrong.status == 400
