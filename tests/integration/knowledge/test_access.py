"""Access lists through the knowledge room: what is added, found, listed and replaced, by whom."""

from typing import Any
from uuid import UUID

import pytest

from tenantry.core.errors import Conflict, Forbidden, InvalidRequest, NotFound
from tenantry.isolation.context import TenantContext
from tenantry.jobs.job import Job
from tenantry.knowledge.documents import Document
from tenantry.knowledge.ingest import Upload
from tenantry.security.groups import Groups
from tenantry.sessions.assistants import Assistants, Draft
from tenantry.sessions.conversations import Conversations, Turn
from tests.integration.knowledge.conftest import Knowledge, WordEmbedder
from tests.worlds import World

PLAN = b"# Nightjar\n\nThe merger with Heron closes in May."
START = UUID(int=0)


class Office:
    """Acme with a lawyer, who is in the group legal, and a clerk, who is in none."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owner = world.acme
        self.lawyer = world.context(world.acme, "analyst")
        self.clerk = world.context(world.acme, "analyst")
        self.knowledge = Knowledge.over(world, WordEmbedder())
        self.groups = Groups(world.db, world.audit)

    async def add(
        self, who: TenantContext, content: bytes = PLAN, source: str | None = None,
        groups: tuple[str, ...] | None = ("legal",),
    ) -> Document:  # fmt: skip
        upload = Upload("plan.md", None, content, source, groups)
        return await self.knowledge.ingestor.ingest(who, upload)

    async def finds(self, who: TenantContext, query: str = "merger Nightjar Heron") -> set[UUID]:
        found = await self.knowledge.retriever.search(who, query, 10)
        return {passage.document_id for passage in found}

    async def lists(self, who: TenantContext) -> list[Document]:
        return await self.knowledge.documents.list_documents(who, START, 50)


@pytest.fixture
async def office(world: World) -> Office:
    found = Office(world)
    legal = await found.groups.create(world.acme, "legal")
    await found.groups.create(world.acme, "sales")
    await found.groups.add(world.acme, legal["group_id"], found.lawyer.actor.id)
    return found


@pytest.mark.req("VEC-2", "VEC-3")
async def test_restricted_document_is_found_and_listed_by_its_readers_alone(office: Office) -> None:
    plan = await office.add(office.lawyer)
    note = await office.add(office.clerk, b"# Note\n\nLunch with Heron.", groups=None)
    assert plan.is_restricted
    assert list(plan.groups) == ["legal"]
    assert await office.finds(office.lawyer) == {plan.document_id, note.document_id}
    assert await office.finds(office.clerk) == {note.document_id}
    assert [d.document_id for d in await office.lists(office.clerk)] == [note.document_id]
    with pytest.raises(NotFound):
        await office.knowledge.documents.get(office.clerk, plan.document_id)
    with pytest.raises(NotFound):
        await office.knowledge.documents.delete(office.clerk, plan.document_id)
    # Who keeps the lists sees that it is there, and not what is in it.
    assert plan.document_id in {d.document_id for d in await office.lists(office.owner)}
    assert await office.finds(office.owner) == {note.document_id}


@pytest.mark.req("VEC-2")
async def test_access_is_changed_by_keepers_and_holds_at_once(office: Office) -> None:
    documents, plan = office.knowledge.documents, await office.add(office.lawyer, groups=None)
    assert await office.finds(office.clerk) == {plan.document_id}
    for refused in (office.lawyer, office.clerk):
        with pytest.raises(Forbidden):
            await documents.restrict(refused, plan.document_id, ["legal"])
    with pytest.raises(InvalidRequest):
        await documents.restrict(office.owner, plan.document_id, ["no-such"])
    with pytest.raises(NotFound):
        await documents.restrict(office.world.globex, plan.document_id, [])
    changed = await documents.restrict(office.owner, plan.document_id, ["sales", "legal"])
    assert list(changed.groups) == ["legal", "sales"]
    assert await office.finds(office.clerk) == set()
    assert await office.finds(office.lawyer) == {plan.document_id}
    assert not (await documents.restrict(office.owner, plan.document_id, [])).is_restricted
    assert await office.finds(office.clerk) == {plan.document_id}
    events = await office.world.audit_events(office.owner)
    changes = [e["detail"] for e in events if e["action"] == "document.restricted"]
    assert changes == [{"groups": ["legal", "sales"]}, {"groups": []}]


@pytest.mark.req("VEC-2", "VEC-3")
async def test_added_again_it_stays_with_its_readers_and_tells_nobody_else(office: Office) -> None:
    plan = await office.add(office.lawyer)
    assert (await office.add(office.lawyer, groups=None)).document_id == plan.document_id
    # An admin who is in no group makes no open copy of it either.
    assert (await office.add(office.owner, groups=None)).document_id == plan.document_id
    # Who cannot see it gets a document of its own, as if there were none.
    copy = await office.add(office.clerk, groups=None)
    assert copy.document_id != plan.document_id
    assert not copy.is_restricted
    with pytest.raises(Conflict):  # the same bytes for the same readers
        await office.knowledge.documents.restrict(office.owner, plan.document_id, [])
    with pytest.raises(InvalidRequest):
        await office.add(office.clerk, b"# Mine", groups=("legal",))
    assert list((await office.add(office.owner, b"# Of the owner")).groups) == ["legal"]


@pytest.mark.req("VEC-3")
async def test_a_new_version_under_its_source_keeps_id_and_readers(office: Office) -> None:
    first = await office.add(office.lawyer, source="deals/plan.md")
    theirs = await office.add(office.clerk, b"# Lunch", source="deals/plan.md", groups=None)
    assert theirs.document_id != first.document_id
    second = await office.add(
        office.lawyer, PLAN + b"\n\nNo, in June.", source="deals/plan.md", groups=None
    )
    assert second.document_id == first.document_id
    assert second.is_restricted
    assert await office.finds(office.clerk, "lunch merger") == {theirs.document_id}
    opened = await office.add(
        office.lawyer, PLAN + b"\n\nIt is public.", source="deals/plan.md", groups=("legal",)
    )
    assert opened.document_id == first.document_id


@pytest.mark.req("VEC-2", "FAIR-3")
async def test_the_job_that_adds_it_is_its_readers_own(office: Office) -> None:
    ingestor, jobs = office.knowledge.ingestor, office.knowledge.documents._jobs
    job = await ingestor.accept(office.lawyer, Upload("plan.md", None, PLAN, None, ("legal",)))
    assert isinstance(job, Job)
    for who, sees in ((office.lawyer, 1), (office.owner, 1), (office.clerk, 0)):
        assert len(await jobs.list_jobs(who, START, 10)) == sees
    with pytest.raises(NotFound):
        await jobs.bring(office.clerk, job.job_id, "cancelled")
    with pytest.raises(NotFound):
        await jobs.discard(office.clerk, job.job_id)
    again = await ingestor.accept(office.clerk, Upload("plan.md", None, PLAN))
    assert isinstance(again, Job)
    assert again.job_id != job.job_id


@pytest.mark.req("VEC-2", "VEC-3")
async def test_saved_citation_says_nothing_of_what_may_not_be_read_any_more(office: Office) -> None:
    world, plan = office.world, await office.add(office.lawyer)
    await Assistants(world.db, world.audit, ("search_documents",)).create(
        office.owner, "analyst", Draft("Be brief.", "keyless")
    )
    conversations = Conversations(world.db, world.audit)
    cited = [
        {"ref": "doc:1", "kind": "document", "title": "plan.md", "locator": "Nightjar",
         "quote": "The merger", "document_id": str(plan.document_id)},
        {"ref": "query:1", "kind": "query", "title": "Orders", "locator": "", "quote": "7",
         "document_id": ""},
    ]  # fmt: skip
    kept = await conversations.create(office.lawyer, "analyst")
    turn = Turn("When?", "In May [doc:1].", "complete", 1, citations=cited)
    await conversations.append(office.lawyer, kept.conversation_id, turn)

    async def shown() -> list[Any]:
        found = await conversations.get(office.lawyer, kept.conversation_id)
        return list(found.messages[1].citations)

    assert await shown() == cited
    groups = await office.groups.list_groups(office.owner, START, 10)
    await office.groups.remove(office.owner, groups[0]["group_id"], office.lawyer.actor.id)
    withheld, other = await shown()
    assert other == cited[1]
    assert withheld["withheld"] is True
    assert (withheld["title"], withheld["locator"], withheld["quote"]) == ("", "", "")
