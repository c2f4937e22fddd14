"""A tenant's MCP server, from `tenantry connector add` to an assistant's answer.

A real server made with the official SDK, over HTTP and as a program in its sandbox; the real HTTP
server, the real command line; the model alone is scripted.
"""

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_connectors import run_command, tenantry
from tests.api.conftest import providers_file
from tests.providers.replies import CallOf, Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import Service
from tests.sources import mcp_tools
from tests.sources.mcp_tools import order_desk_over_http
from tests.worlds import Cluster

PYTHON = os.path.realpath(sys.executable)
PACKAGES = str(Path(pytest.__file__).parent.parent)
OPERATIONS = '{"read": ["find_orders"], "write": ["create_order"]}'
TOKEN = "tok-of-acme-7Q9X"


@pytest.fixture(scope="module")
def desk_url() -> Iterator[str]:
    """A real server over HTTP."""
    with order_desk_over_http() as url:
        yield url


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    """The model's server."""
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
async def service(
    cluster: Cluster, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    """A platform that may reach this machine's servers, and run one program as a server."""
    script = str(Path(mcp_tools.__file__))
    run = (
        f"import sys, runpy; sys.path.insert(0, {PACKAGES!r});"
        f"runpy.run_path({script!r}, run_name='__main__')"
    )
    commands = tmp_path / "commands.json"
    desk = {
        "argv": [PYTHON, "-I", "-c", run], "read": [script, PACKAGES, sys.base_prefix],
        "secrets": {"desk_token": "DESK_TOKEN"},
    }  # fmt: skip
    commands.write_text(json.dumps({"commands": {"desk": desk}}))
    path = providers_file(tmp_path, provider)
    async with Service.create(
        cluster, tmp_path, path, egress_allow="127.0.0.0/8", mcp_commands_file=commands
    ) as service:
        yield service


async def added(service: Service, way: str, url: str) -> Any:
    """The connector `desk`, added on the command line."""
    reached, secret = (f"url={url}", "token") if way == "http" else ("command=desk", "desk_token")
    auth = ["-o", 'auth={"kind": "bearer"}'] if way == "http" else []
    return await tenantry(
        service.acme, "add", "desk", "mcp", "-o", reached, "-o", f"operations={OPERATIONS}",
        "-o", 'fixed={"account_id": "a7"}', "-o", "writes=approval", *auth,
        "--secret-env", f"{secret}=DESK_TOKEN", "--json", DESK_TOKEN=TOKEN,
    )  # fmt: skip


@pytest.mark.req("CON-1", "CON-2", "CON-4", "USE-1", "USE-3", "COST-2", "SEC-3", "POOL-4")
@pytest.mark.parametrize("way", ["http", "stdio"])
async def test_an_mcp_server_is_connected_looked_at_and_asked_by_an_assistant(
    service: Service, provider: ScriptedProvider, desk_url: str, way: str
) -> None:
    desk = await added(service, way, desk_url)
    assert (desk["kind"], desk["credential_version"]) == ("mcp", 1)
    shown = await tenantry(service.acme, "schema", "desk", "--json")
    assert [each["name"] for each in shown["operations"]] == ["find_orders", "create_order"]
    assert "account_id" not in json.dumps(shown["operations"])
    body = {"name": "clerk", "instructions": "Be brief.", "model": "scripted/scripted-1"}
    assert (await service.acme.post("/v1/assistants", body)).status == 201
    find = {"connector": "desk", "operation": "find_orders", "arguments": '{"region": "north"}'}
    order = {"connector": "desk", "operation": "create_order", "arguments": '{"sku": "s1"}'}
    other = {**find, "arguments": '{"region": "north", "tenant_id": "globex"}'}
    provider.queue(
        Reply(calls=(CallOf("list_data", "{}"),)),
        Reply(calls=(CallOf("call_api", json.dumps(other)),)),
        Reply(calls=(CallOf("call_api", json.dumps(order)),)),
        Reply(calls=(CallOf("call_api", json.dumps(find)),)),
        Reply("The north ordered for 150.50 [call:1]."),
    )
    facts = (await service.acme.ask("What did the north order?", "clerk")).body["tenantry"]
    (citation,) = facts["citations"]
    (waiting,) = facts["attachments"]
    assert (waiting["kind"], waiting["title"]) == ("approval", 'create_order {"sku":"s1"}')
    assert citation["locator"] == 'find_orders {"region":"north"}'
    prompts = "\n".join(provider.prompts)
    assert "120.50" in prompts
    assert "ordered s1" not in prompts  # it waits for the member
    assert TOKEN not in prompts
    log = (await service.acme.get("/v1/audit?outcome=refused")).body["data"]
    told = [event["detail"]["reason"] for event in log if event["action"] == "call.refused"]
    assert told == ["argument"]
    (listed,) = json.loads(await run_command(service.acme, "approval", "list", "--json"))
    assert (listed["id"], listed["arguments"]) == (waiting["approval_id"], {"sku": "s1"})
    approve = ("approval", "approve", waiting["approval_id"], "--json")
    done = json.loads(await run_command(service.acme, *approve))
    assert done["answer"]["structured"] == {"result": "ordered s1 for a7"}
    usage = (await service.acme.get("/v1/usage?by=connector")).body["lines"]
    assert [(line["key"], line["calls"]) for line in usage if line["key"]] == [(desk["id"], 4)]
    said = [(await service.acme.get(f"/v1/{path}")).raw for path in ("connectors", "audit")]
    assert TOKEN.encode() not in b"".join(said)
    assert (await service.globex.post(f"/v1/connectors/{desk['id']}/test")).status == 404


@pytest.mark.req("SEC-3", "USE-3")
async def test_what_a_server_changed_is_accepted_anew_on_the_command_line(
    service: Service, desk_url: str
) -> None:
    desk = await added(service, "http", desk_url)
    path = f"/v1/connectors/{desk['id']}"
    # As if the server had said something else when its tools were accepted.
    tools = desk["options"]["tools"]
    tools["find_orders"]["sha256"] = "0" * 64
    with service.admin() as admin:
        admin.execute(
            "UPDATE tenantry.connectors SET options = jsonb_set(options, '{tools}', %s::jsonb)",
            [json.dumps(tools)],
        )
    call = {"operation": "find_orders", "arguments": {"region": "south"}}
    refused = await service.acme.post(f"{path}/call", call)
    assert (refused.status, refused.body["code"]) == (422, "query_refused")
    assert "suspended" in await tenantry(service.acme, "schema", "desk")
    await tenantry(service.acme, "accept", "desk", "--json")
    answer = await tenantry(
        service.acme, "call", "desk", "find_orders", "-a", "region=south", "--json"
    )
    assert answer["structured"] == {"region": "south", "totals": ["99.00"]}
