"""A tenant's embedder over HTTP: chosen, tried, changed by a job, paid for, shown."""

import pytest

from tenantry.jobs.attempt import Attempts
from tests.providers.replies import Reply
from tests.providers.scripted import ScriptedProvider
from tests.service import Service

MODEL = "scripted/scripted-1"
QUESTION = {"query": "How long do refunds take?"}


async def _work(service: Service) -> None:
    """What a worker does with the tenants' jobs, until there is none."""
    platform = service.platform
    base = platform.upkeep.base
    attempts = Attempts(base.db, base.mint, base.signer, base.audit, base.clock)
    while True:
        with service.admin() as admin:
            row = admin.execute(
                "DELETE FROM tenantry_queue.pgqueuer WHERE id ="
                " (SELECT min(id) FROM tenantry_queue.pgqueuer WHERE status = 'queued')"
                " RETURNING payload, dedupe_key"
            ).fetchone()
        if row is None:
            return
        attempt = await attempts.begin(bytes(row[0]), row[1])
        if attempt is not None:
            await platform.reembedding.carry_out(attempt)


@pytest.mark.req("VEC-3", "COST-2", "COST-4", "USE-2")
async def test_a_tenant_is_embedded_anew_by_a_providers_model(
    modelled: Service, provider: ScriptedProvider
) -> None:
    for client, days in ((modelled.acme, 21), (modelled.globex, 14)):
        text = f"# Refunds\n\nRefunds take {days} days.\n".encode()
        assert (await client.upload("/v1/documents", "refunds.md", text)).status in {200, 201}
    before = (await modelled.acme.get("/v1/embedder")).body
    assert (before["dimension"], before["is_default"], before["change"]) == (384, True, None)
    for wrong, status in (
        ({"model": "scripted/none"}, 404),
        ({"model": MODEL, "dimension": 5}, 400),
        ({"model": "embedded", "dimension": 5}, 400),
        ({"model": MODEL, "dimension": 0}, 422),
        ({"model": ""}, 422),
    ):
        refused = await modelled.acme.call("PUT", "/v1/embedder", json=wrong)
        assert refused.status in {status, 400}, (wrong, refused)
    provider.queue(Reply(fault="garbage"))
    nonsense = await modelled.acme.call("PUT", "/v1/embedder", json={"model": MODEL})
    assert (nonsense.status, nonsense.body["code"]) == (502, "provider_malformed")
    assert (await modelled.acme.get("/v1/embedder")).body == before
    chosen = await modelled.acme.call("PUT", "/v1/embedder", json={"model": MODEL})
    assert (chosen.status, chosen.body["model"]) == (200, before["model"])
    change = chosen.body["change"]
    assert (change["model"], change["dimension"], change["state"]) == (MODEL, 8, "queued")
    job = (await modelled.acme.get(f"/v1/jobs/{change['job']}")).body
    assert job["kind"] == "reembed"
    asked = len(provider.calls)
    await _work(modelled)
    assert len(provider.calls) > asked
    after = (await modelled.acme.get("/v1/embedder")).body
    assert (after["model"], after["dimension"], after["change"]) == (MODEL, 8, None)
    found = (await modelled.acme.post("/v1/documents/search", QUESTION)).body["data"]
    assert ["21" in passage["text"] for passage in found] == [True]
    theirs = (await modelled.globex.get("/v1/embedder")).body
    assert theirs["model"] == before["model"]
    with modelled.admin() as admin:
        entries = admin.execute(
            "SELECT DISTINCT tenant_id FROM tenantry.usage_events"
            " WHERE operation = 'embedding' AND provider = 'scripted' AND kind = 'settled'"
        ).fetchall()
    assert entries == [(modelled.tenants_id("acme"),)]
    assert (await modelled.acme.delete("/v1/embedder/change")).status == 404


@pytest.mark.req("VEC-3", "SEC-4")
async def test_an_operator_chooses_for_a_tenant_and_nobody_for_a_neighbour(
    modelled: Service, provider: ScriptedProvider
) -> None:
    path = f"/v1/tenants/{modelled.tenants_id('globex')}/embedder"
    assert (await modelled.acme.call("PUT", path, json={"model": MODEL})).status in {401, 403}
    answer = await modelled.operator.call("PUT", path, json={"model": MODEL})
    assert (answer.status, answer.body["model"]) == (200, MODEL)  # it has no documents yet
    assert (await modelled.operator.get(path)).body["dimension"] == 8
    assert (await modelled.acme.get("/v1/embedder")).body["dimension"] == 384
    assert len(provider.calls) == 1
