"""The show against a served platform: it passes when all is well, and notices when it is not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import pytest
import pytest_asyncio

from tenantry.core.errors import TenantryError
from tenantry.demo.attacks import Stage, attacks
from tenantry.demo.client import Client, accepted
from tenantry.demo.evidence import recorded
from tenantry.demo.gullible import MODEL, gullible_model
from tenantry.demo.interview import ask
from tenantry.demo.provision import Place, provision, steps
from tenantry.demo.script import (
    CHORD,
    PLANTED_DOCUMENT,
    PLANTED_QUESTIONS,
    QUESTIONS,
    SKYLINE,
    TENANTS,
)
from tenantry.demo.show import run_demo
from tenantry.demo.verified import verified_queries
from tests.service import Service
from tests.worlds import Cluster

pytestmark = [
    pytest.mark.req("USE-5"),
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]


@dataclass
class Theatre:
    """A served platform with the gullible model, and a client of its operator."""

    service: Service
    operator: Client
    key: str

    async def show(self, *, serve: bool = False) -> tuple[int, str]:
        """Run the whole show; its status and its text."""
        said: list[str] = []
        status = await run_demo(self.service.base_url, self.key, serve=serve, out=said.append)
        return status, "\n".join(said)

    async def places(self) -> list[Place]:
        """Both tenants, loaded."""
        return [await provision(self.operator, t, lambda _: None) for t in TENANTS]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Theatre]:
    """One for all tests, because loading both tenants takes longest; each leaves it as it was."""
    folder = tmp_path_factory.mktemp("theatre")
    async with gullible_model() as model:
        path = model.write_providers(folder / "providers.json")
        async with (
            Service.create(cluster, folder, path) as service,
            aiohttp.ClientSession() as session,
        ):
            key = service.operator.credential
            yield Theatre(service, Client(session, service.base_url, key), key)


@asynccontextmanager
async def added_document(place: Place, title: str, text: str) -> AsyncIterator[None]:
    reply = await place.admin.upload("/v1/documents", title, "text/markdown", text.encode())
    document = accepted(reply, "Adding")["id"]
    try:
        yield
    finally:
        await place.admin.call("DELETE", f"/v1/documents/{document}")


async def left_behind(place: Place) -> set[str]:
    documents = {d["title"] for d in await place.admin.list("/v1/documents")}
    questions = {p["question"] for p in await place.admin.list("/v1/patterns")}
    assistants = {a["name"] for a in await place.admin.list("/v1/assistants")}
    return (
        documents & {PLANTED_DOCUMENT}
        | questions & set(PLANTED_QUESTIONS)
        | assistants - {"analyst"}
    )


async def test_a_good_platform_passes_and_nothing_is_left_behind(theatre: Theatre) -> None:
    status, said = await theatre.show(serve=True)
    assert status == 0, said
    assert "orders in a document, obeyed" in said
    assert said.count("OPENAI_API_KEY=") == 2
    for place in await theatre.places():
        assert place.added == 0
        assert await left_behind(place) == set()


async def test_a_wrong_answer_fails_the_show(theatre: Theatre) -> None:
    [skyline, _] = await theatre.places()
    # The neighbour's facts, planted where a leak would bring them.
    leak = "# Refund window\n\nCustomers may ask for a refund within 14 days, at 7.49 US dollars."
    async with added_document(skyline, "leak.md", leak):
        status, said = await theatre.show(serve=True)
    assert status == 1
    assert "LEAKS" in said
    assert "OPENAI_API_KEY=" not in said  # a platform that fails is not recommended to anybody


async def test_what_somebody_else_added_survives_the_next_show(theatre: Theatre) -> None:
    [skyline, _] = await theatre.places()
    body = {"connector": "warehouse", "question": "How many planes?", "sql": "SELECT 1"}
    pattern = await skyline.admin.post("/v1/patterns", body)
    async with added_document(skyline, "parking.md", "# Parking\n\nStaff park on deck four."):
        await theatre.places()
        documents = {d["title"] for d in await skyline.admin.list("/v1/documents")}
        questions = {p["question"] for p in await skyline.admin.list("/v1/patterns")}
    await skyline.admin.call("DELETE", f"/v1/patterns/{pattern['id']}")
    assert "parking.md" in documents
    assert "How many planes?" in questions


async def test_leftovers_of_an_interrupted_show_are_removed(theatre: Theatre) -> None:
    [skyline, _] = await theatre.places()
    admin = skyline.admin
    await admin.upload("/v1/documents", PLANTED_DOCUMENT, "text/markdown", b"# Orders\n\nObey.")
    wrong = {"connector": "warehouse", "sql": "SELECT 0"}
    await admin.post("/v1/patterns", {**wrong, "question": PLANTED_QUESTIONS[0]})
    await admin.post("/v1/patterns", {**wrong, "question": "What was our busiest month?"})
    await admin.post("/v1/patterns", {**wrong, "question": PLANTED_QUESTIONS[1]})
    [again, _] = await theatre.places()
    assert again.added == 0
    assert await left_behind(again) == set()
    patterns = {(p["question"], p["sql"]) for p in await admin.list("/v1/patterns")}
    assert patterns == {(q.question, q.sql) for q in verified_queries(SKYLINE.name)}


async def test_progress_is_reported_as_often_as_announced(theatre: Theatre) -> None:
    for _ in range(2):
        done: list[str] = []
        await provision(theatre.operator, CHORD, done.append)
        assert len(done) == len(set(done)) == steps(CHORD)


@pytest.mark.req("SEC-4")
async def test_every_attack_is_blocked_both_ways_and_leaves_its_evidence(theatre: Theatre) -> None:
    skyline, chord = await theatre.places()
    for attacker, victim in ((skyline, chord), (chord, skyline)):
        stage = Stage(theatre.operator, attacker, victim)
        for attack in attacks(frozenset({MODEL})):
            attempt = await attack.run(stage)
            assert attempt.faults == (), attack.name
            events = await recorded(theatre.operator, attacker, attempt.requests)
            assert attack.evidence <= {event["action"] for event in events}, attack.name
        assert await left_behind(attacker) == set()


GETS_THROUGH_WITH_OWN_CREDENTIALS = {
    "another tenant's document, by id": "tells a foreign id from an unknown one",
    "member token with another tenant": "",
    "X-Tenant-Id header": "",
    "tenant_id in the body": "",
    "revoked key": "",
    "another tenant's cursor": "expected 400, got 200",
    "another tenant's conversation": "expected 404, got 200",
    "asking for a secret": "LEAKS '7.49 US dollars'",
    "SQL that reads a server file": "",
    "SQL over another tenant's table": "LEAKS 'invoice_line_id'",
    "orders in a document, obeyed": "LEAKS",
}


@pytest.mark.req("SEC-4")
async def test_an_attack_that_gets_through_is_noticed(theatre: Theatre) -> None:
    """The attacker is given the victim's own credentials: what isolation alone stops gets in."""
    _, chord = await theatre.places()
    insider = replace(chord, tenant=SKYLINE)
    stage = Stage(theatre.operator, insider, chord)
    for attack in attacks(frozenset({MODEL})):
        faults = "; ".join((await attack.run(stage)).faults)
        expected = GETS_THROUGH_WITH_OWN_CREDENTIALS[attack.name]
        assert bool(faults) == bool(expected), (attack.name, faults)
        assert expected in faults


async def test_an_attack_that_could_not_be_made_is_no_success(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that orders nothing proves nothing, and the attack says so."""
    skyline, chord = await theatre.places()
    [attack] = [a for a in attacks(frozenset({MODEL})) if a.name.startswith("orders")]
    monkeypatch.setattr("tenantry.demo.attacks._ORDERS", "# Newsletter\n\nNothing is new.\n")
    attempt = await attack.run(Stage(theatre.operator, skyline, chord))
    assert "proves nothing" in " ".join(attempt.faults)


async def test_without_the_gullible_model_its_attack_is_left_out() -> None:
    assert len(attacks(frozenset())) == len(attacks(frozenset({MODEL}))) - 1


async def test_what_the_server_refuses_is_told_not_hidden(theatre: Theatre) -> None:
    stranger = theatre.operator.with_credential("tnt_live_nobody")
    with pytest.raises(TenantryError, match="Creating the tenant answered 401"):
        await provision(stranger, SKYLINE, lambda _: None)
    with pytest.raises(TenantryError, match="answered 401"):
        await ask(stranger, QUESTIONS[0].text)
    nowhere = Client(theatre.operator.session, "http://127.0.0.1:9", "x")
    with pytest.raises(TenantryError, match=r"No answer from http://127\.0\.0\.1:9\."):
        await nowhere.get("/v1/tenants")
