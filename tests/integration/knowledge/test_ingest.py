"""Ingestion: whole or not at all, once, metered, audited; bad files fail clearly."""

import asyncio

import pytest

from tenantry.core.errors import (
    DocumentUnreadable,
    InvalidRequest,
    NotFound,
    TenantryError,
    TooLarge,
    UnsupportedMedia,
)
from tenantry.core.ids import new_id
from tests.integration.knowledge.conftest import Knowledge
from tests.unit.knowledge.files import docx, pdf

MARKDOWN = "# Refunds\n\nRefunds take 21 days.\n\n## Late\n\nLate ones take 30 days.\n"


def _counts(knowledge: Knowledge) -> tuple[int, int, int]:
    query = (
        "SELECT (SELECT count(*) FROM tenantry.documents), (SELECT count(*) FROM tenantry.chunks),"
        " (SELECT count(*) FROM tenantry.usage_events)"
    )
    with knowledge.world.admin() as admin:
        row = admin.execute(query).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("title", "content", "said", "pages"),
    [
        ("a.md", MARKDOWN.encode(), "Late ones take 30 days.", 1),
        ("a.txt", "Grüße aus Köln.".encode("cp1252"), "Grüße aus Köln.", 1),
        ("a.html", b"<h1>Top</h1><script>x()</script><p>Seen &amp; said</p>", "Seen & said", 1),
        ("a.pdf", pdf("First page here", "Second page here"), "Second page here", 2),
        ("a.docx", docx("Policy", "Bags weigh 23 kg."), "Bags weigh 23 kg.", 1),
        ("a.csv", b"item,price\nbag,23\n", "item: bag; price: 23", 1),
    ],
)
async def test_each_format_becomes_passages_of_its_text(
    knowledge: Knowledge, title: str, content: bytes, said: str, pages: int
) -> None:
    acme = knowledge.world.acme
    document = await knowledge.add(acme, title, content)
    assert document.pages == pages
    found = await knowledge.retriever.search(acme, said, 5)
    assert any(said in passage.text for passage in found)
    assert not any("x()" in passage.text for passage in found)


@pytest.mark.req("VEC-3", "COST-2", "SEC-4")
async def test_the_same_bytes_are_ingested_once_metered_once_and_audited_once(
    knowledge: Knowledge,
) -> None:
    acme = knowledge.world.acme
    first, *others = await asyncio.gather(
        *(knowledge.add(acme, "a.md", MARKDOWN) for _ in range(4))
    )
    assert all(other.document_id == first.document_id for other in others)
    assert _counts(knowledge) == (1, first.chunk_count, 1)
    actions = [event["action"] for event in await knowledge.world.audit_events(acme)]
    assert actions == ["document.ingested"]


@pytest.mark.req("VEC-3", "DB-1")
async def test_two_tenants_with_the_same_file_have_a_document_each(knowledge: Knowledge) -> None:
    world = knowledge.world
    ours = await knowledge.add(world.acme, "a.md", MARKDOWN)
    theirs = await knowledge.add(world.globex, "a.md", MARKDOWN)
    assert ours.document_id != theirs.document_id
    await knowledge.documents.delete(world.globex, theirs.document_id)
    assert (await knowledge.documents.get(world.acme, ours.document_id)) == ours


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("title", "content", "error", "said"),
    [
        ("a.txt", b"", InvalidRequest, "empty"),
        ("a.txt", b"x" * 1_000_001, TooLarge, "1000000 bytes"),
        ("a.pdf", pdf("x")[:200], DocumentUnreadable, "PDF"),
        ("a.pdf", b"%PDF-1.4\ngarbage", DocumentUnreadable, "PDF"),
        ("a.pdf", b"not one", UnsupportedMedia, "said to be"),
        ("a.docx", b"PK\x03\x04garbage", DocumentUnreadable, "Word"),
        ("a.zip", b"PK\x03\x04", UnsupportedMedia, "archive"),
        ("a.exe", b"MZ\x90\x00\x03", UnsupportedMedia, "not read"),
        ("a.txt", bytes(range(256)) * 40, DocumentUnreadable, "not text"),
        ("a.txt", b"  \n \n", DocumentUnreadable, "no text"),
        ("/", b"x", InvalidRequest, "title"),
    ],
)
async def test_a_bad_file_fails_with_the_reason_and_leaves_nothing(
    knowledge: Knowledge, title: str, content: bytes, error: type[TenantryError], said: str
) -> None:
    with pytest.raises(error, match=said):
        await knowledge.add(knowledge.world.acme, title, content)
    assert _counts(knowledge) == (0, 0, 0)


@pytest.mark.req("VEC-3", "SEC-4")
async def test_a_foreign_document_is_as_unknown_as_one_that_never_was(
    knowledge: Knowledge,
) -> None:
    world = knowledge.world
    theirs = await knowledge.add(world.globex, "a.md", MARKDOWN)
    for document_id in (theirs.document_id, new_id()):
        with pytest.raises(NotFound) as refused:
            await knowledge.documents.get(world.acme, document_id)
        assert refused.value.message == NotFound().message
        with pytest.raises(NotFound):
            await knowledge.documents.delete(world.acme, document_id)
    assert await knowledge.documents.list_documents(world.acme, new_id(), 10) == []
    assert (await knowledge.documents.get(world.globex, theirs.document_id)) == theirs


@pytest.mark.req("VEC-3")
async def test_a_title_is_a_name_and_no_path(knowledge: Knowledge) -> None:
    document = await knowledge.add(knowledge.world.acme, "../../etc/pass\nwd.txt", "Some text.")
    assert document.title == "passwd.txt"


@pytest.mark.req("VEC-3")
async def test_progress_counts_up_to_the_number_of_passages(knowledge: Knowledge) -> None:
    from tenantry.knowledge.ingest import Upload

    seen: list[tuple[int, int]] = []
    text = "\n\n".join(f"Paragraph {n} says something of its own. " * 12 for n in range(70))
    upload = Upload("long.txt", None, text.encode())
    document = await knowledge.ingestor.ingest(
        knowledge.world.acme, upload, lambda done, of: seen.append((done, of))
    )
    assert seen[-1] == (document.chunk_count, document.chunk_count)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
