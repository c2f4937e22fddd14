"""Documents: listed in pages, removed with their passages, and never another tenant's."""

from uuid import UUID

import pytest

from tenantry.core.errors import NotFound
from tenantry.core.ids import new_id
from tests.integration.knowledge.conftest import Knowledge

START = UUID(int=0)


@pytest.mark.req("VEC-3", "USE-2")
async def test_a_list_gives_the_tenants_documents_oldest_first_in_pages(quick: Knowledge) -> None:
    world = quick.world
    ours = [await quick.add(world.acme, f"{n}.txt", f"Text {n}.") for n in range(5)]
    theirs = [await quick.add(world.globex, f"{n}.txt", f"Text {n}.") for n in range(3)]
    assert await quick.documents.list_documents(world.acme, START, 100) == ours
    assert await quick.documents.list_documents(world.globex, START, 100) == theirs
    first = await quick.documents.list_documents(world.acme, START, 2)
    rest = await quick.documents.list_documents(world.acme, first[-1].document_id, 100)
    assert first + rest == ours
    assert await quick.documents.list_documents(world.acme, ours[-1].document_id, 100) == []


@pytest.mark.req("VEC-3", "SEC-4")
async def test_a_removed_document_is_gone_from_search_and_audited(quick: Knowledge) -> None:
    world = quick.world
    document = await quick.add(world.acme, "a.txt", "Refunds take 21 days.")
    kept = await quick.add(world.acme, "b.txt", "Refunds of the shop.")
    await quick.add(world.globex, "a.txt", "Refunds take 21 days.")
    await quick.documents.delete(world.acme, document.document_id)
    found = await quick.retriever.search(world.acme, "Refunds take 21 days.", 10)
    assert [passage.document_id for passage in found] == [kept.document_id]
    assert quick.counts(world.globex)[:2] == (1, 1)
    actions = [event["action"] for event in await world.audit_events(world.acme)]
    assert actions == ["document.ingested", "document.ingested", "document.deleted"]
    with pytest.raises(NotFound):
        await quick.documents.delete(world.acme, document.document_id)
    assert len(await world.audit_events(world.acme)) == 3


@pytest.mark.req("VEC-3")
async def test_a_removed_document_can_be_added_again(quick: Knowledge) -> None:
    acme = quick.world.acme
    first = await quick.add(acme, "a.txt", "Refunds take 21 days.")
    await quick.documents.delete(acme, first.document_id)
    again = await quick.add(acme, "a.txt", "Refunds take 21 days.")
    assert again.document_id != first.document_id
    assert len(await quick.retriever.search(acme, "refunds", 10)) == 1


@pytest.mark.req("VEC-2", "SEC-4")
async def test_a_foreign_document_is_as_unknown_as_one_that_never_was(quick: Knowledge) -> None:
    world = quick.world
    theirs = await quick.add(world.globex, "a.md", "# A\n\nText.")
    before = quick.rows("SELECT * FROM tenantry.chunks, tenantry.documents")
    assert before
    refusals = set()
    for document_id in (theirs.document_id, new_id()):
        for operation in (quick.documents.get, quick.documents.delete):
            with pytest.raises(NotFound) as refused:
                await operation(world.acme, document_id)
            refusals.add((type(refused.value), refused.value.message, refused.value.code))
    assert len(refusals) == 1
    assert quick.rows("SELECT * FROM tenantry.chunks, tenantry.documents") == before
