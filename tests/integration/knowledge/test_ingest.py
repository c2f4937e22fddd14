"""Ingestion: whole or not at all, once, metered, audited; bad files fail clearly."""

import asyncio
from uuid import UUID

import pytest

from tenantry.core.errors import (
    Conflict,
    DocumentUnreadable,
    InvalidRequest,
    ProviderUnavailable,
    StoreUnavailable,
    TenantryError,
    TooLarge,
    UnsupportedMedia,
)
from tenantry.knowledge import ingest as ingesting
from tenantry.knowledge.ingest import Upload
from tenantry.vectors.passages import NewPassage, add_passages
from tests.integration.knowledge.conftest import Knowledge, WordEmbedder
from tests.unit.knowledge.files import docx, pdf
from tests.worlds import World

MARKDOWN = "# Refunds\n\nRefunds take 21 days.\n\n## Late\n\nLate ones take 30 days.\n"
LONG = "\n\n".join(f"Paragraph {n} says something of its own. " * 12 for n in range(70))


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


@pytest.mark.req("VEC-3")
async def test_a_document_says_what_it_is(quick: Knowledge) -> None:
    acme = quick.world.acme
    document = await quick.add(acme, "rules.md", MARKDOWN, "text/markdown")
    assert (document.title, document.media_type) == ("rules.md", "text/markdown")
    assert (document.size_bytes, document.chunk_count) == (len(MARKDOWN), 2)
    assert document.created_by == acme.actor.id
    stored = quick.rows(
        "SELECT content, heading, start_offset, end_offset FROM tenantry.chunks ORDER BY chunk_no"
    )
    assert [(row[0], row[1]) for row in stored] == [
        ("# Refunds\n\nRefunds take 21 days.", "Refunds"),
        ("## Late\n\nLate ones take 30 days.", "Refunds > Late"),
    ]
    assert all(MARKDOWN[start:end] == text for text, _, start, end in stored)


@pytest.mark.req("VEC-3", "COST-2", "SEC-4")
async def test_the_same_bytes_are_ingested_once_metered_once_and_audited_once(
    quick: Knowledge,
) -> None:
    acme = quick.world.acme
    first, *others = await asyncio.gather(
        *(quick.add(acme, f"{n}.md", MARKDOWN) for n in range(4)),
    )
    assert all(other == first for other in others)
    assert quick.counts(acme) == (1, first.chunk_count, 1)
    assert await quick.add(acme, "again.md", MARKDOWN) == first
    assert [e["action"] for e in await quick.world.audit_events(acme)] == ["document.ingested"]


@pytest.mark.req("VEC-3", "COST-3")
async def test_two_servers_given_the_same_bytes_at_once_keep_one_document(world: World) -> None:
    gate = asyncio.Event()
    servers = [Knowledge.over(world, WordEmbedder(gate=gate)) for _ in range(3)]
    calls = [asyncio.create_task(s.add(world.acme, "a.md", MARKDOWN)) for s in servers]
    for server in servers:
        assert isinstance(server.embedder, WordEmbedder)
        await server.embedder.waiting.wait()
    gate.set()
    first, *others = await asyncio.gather(*calls)
    assert all(other == first for other in others)
    # Three embedded the text, and all that was used is in the ledger.
    assert servers[0].counts(world.acme) == (1, first.chunk_count, 3)
    assert len(await world.audit_events(world.acme)) == 1


@pytest.mark.req("VEC-3", "DB-1")
async def test_two_tenants_with_the_same_file_have_a_document_each(quick: Knowledge) -> None:
    world = quick.world
    ours = await quick.add(world.acme, "a.md", MARKDOWN)
    theirs = await quick.add(world.globex, "a.md", MARKDOWN)
    assert ours.document_id != theirs.document_id
    await quick.documents.delete(world.globex, theirs.document_id)
    assert (await quick.documents.get(world.acme, ours.document_id)) == ours


@pytest.mark.req("COST-2")
async def test_the_tokens_of_every_passage_are_metered_to_the_tenant(quick: Knowledge) -> None:
    acme = quick.world.acme
    await quick.add(quick.world.globex, "theirs.md", MARKDOWN)
    await quick.add(acme, "a.md", MARKDOWN)
    events = quick.rows(
        "SELECT kind, operation, provider, model, input_tokens, actor FROM tenantry.usage_events"
        " WHERE tenant_id = %s",
        acme.tenant,
    )
    # Each passage is embedded under its heading.
    texts = [
        "Refunds\n# Refunds\n\nRefunds take 21 days.",
        "Refunds > Late\n## Late\n\nLate ones take 30 days.",
    ]
    tokens = sum(quick.embedder.count_tokens(text) for text in texts)
    assert events == [("recorded", "embedding", "double", "words-1", tokens, str(acme.actor))]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("title", "content", "error", "said"),
    [
        ("a.txt", b"", InvalidRequest, "empty"),
        ("a.txt", b"x" * 1_000_001, TooLarge, "1000000 bytes"),
        ("a.pdf", pdf("x")[:200], DocumentUnreadable, "PDF"),
        ("a.pdf", b"%PDF-1.4\ngarbage", DocumentUnreadable, "PDF"),
        ("a.pdf", pdf(""), DocumentUnreadable, "recognised"),
        ("a.pdf", b"not one", UnsupportedMedia, "said to be"),
        ("a.docx", b"PK\x03\x04garbage", DocumentUnreadable, "Word"),
        ("a.zip", b"PK\x03\x04", DocumentUnreadable, "ZIP"),
        ("a.exe", b"MZ\x90\x00\x03", UnsupportedMedia, "not read"),
        ("a.txt", bytes(range(256)) * 40, DocumentUnreadable, "not text"),
        ("a.txt", b"  \n \n", DocumentUnreadable, "no text"),
        ("a.csv", b"only,a,header\n", DocumentUnreadable, "no text"),
        ("/", b"x", InvalidRequest, "title"),
        ("\n\t", b"x", InvalidRequest, "title"),
    ],
)
async def test_a_bad_file_fails_with_the_reason_and_leaves_nothing(
    quick: Knowledge, title: str, content: bytes, error: type[TenantryError], said: str
) -> None:
    with pytest.raises(error, match=said):
        await quick.add(quick.world.acme, title, content)
    assert quick.counts(quick.world.acme) == (0, 0, 0)
    assert await quick.world.audit_events(quick.world.acme) == []


@pytest.mark.req("VEC-3")
async def test_a_document_of_too_many_passages_is_refused_before_it_is_embedded(
    quick: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "_MOST_CHUNKS", 10)
    with pytest.raises(TooLarge, match="split it"):
        await quick.add(quick.world.acme, "long.txt", LONG)
    assert isinstance(quick.embedder, WordEmbedder)
    assert quick.embedder.batches == 0


@pytest.mark.req("VEC-3")
async def test_an_embedder_that_fails_half_way_leaves_nothing_and_the_next_try_succeeds(
    world: World,
) -> None:
    broken = Knowledge.over(world, WordEmbedder(fails_after=1))
    with pytest.raises(ProviderUnavailable):
        await broken.add(world.acme, "long.txt", LONG)
    assert broken.counts(world.acme) == (0, 0, 0)
    assert isinstance(broken.embedder, WordEmbedder)
    broken.embedder.fails_after = None
    document = await broken.add(world.acme, "long.txt", LONG)
    assert broken.counts(world.acme) == (1, document.chunk_count, 1)


@pytest.mark.req("VEC-3")
async def test_a_client_that_leaves_half_way_leaves_nothing(world: World) -> None:
    gate = asyncio.Event()
    quick = Knowledge.over(world, WordEmbedder(gate=gate))
    assert isinstance(quick.embedder, WordEmbedder)
    call = asyncio.create_task(quick.add(world.acme, "a.md", MARKDOWN))
    await quick.embedder.waiting.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert quick.counts(world.acme) == (0, 0, 0)
    gate.set()
    assert (await quick.add(world.acme, "a.md", MARKDOWN)).chunk_count == 2


@pytest.mark.req("SEC-4", "VEC-3")
async def test_a_document_that_cannot_be_audited_is_not_added(quick: Knowledge) -> None:
    with quick.world.admin() as admin:
        admin.execute("ALTER TABLE tenantry.audit_events RENAME TO away")
    with pytest.raises((StoreUnavailable, TenantryError)):
        await quick.add(quick.world.acme, "a.md", MARKDOWN)
    with quick.world.admin() as admin:
        admin.execute("ALTER TABLE tenantry.away RENAME TO audit_events")
    assert quick.counts(quick.world.acme) == (0, 0, 0)
    assert (await quick.add(quick.world.acme, "a.md", MARKDOWN)).chunk_count == 2


@pytest.mark.req("DB-1", "SEC-4")
async def test_a_chunk_cannot_be_hung_on_a_neighbours_document(quick: Knowledge) -> None:
    world = quick.world
    theirs = await quick.add(world.globex, "a.md", MARKDOWN)
    before = quick.counts(world.globex)
    planted = NewPassage(99, "planted", "", 1, 0, 7)
    with pytest.raises(Conflict):
        async with world.db.tenant(world.acme) as tx:
            await add_passages(tx, theirs.document_id, [planted])
    assert quick.counts(world.globex) == before


@pytest.mark.req("VEC-3")
async def test_a_title_is_a_name_and_no_path(quick: Knowledge) -> None:
    document = await quick.add(quick.world.acme, "../../etc/pass\nwd\ud800.txt", "Some text.")
    assert document.title == "passwd.txt"
    windows = await quick.add(quick.world.acme, "C:\\files\\" + "x" * 400 + ".txt", "Other text.")
    assert windows.title == "x" * 300


@pytest.mark.req("VEC-3")
async def test_progress_counts_up_to_the_number_of_passages(quick: Knowledge) -> None:
    seen: list[tuple[int, int]] = []
    upload = Upload("long.txt", None, LONG.encode())
    document = await quick.ingestor.ingest(
        quick.world.acme, upload, lambda done, of: seen.append((done, of))
    )
    assert seen[-1] == (document.chunk_count, document.chunk_count)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) > 1


@pytest.mark.req("VEC-3")
def test_an_upload_does_not_show_its_content() -> None:
    assert "secret" not in repr(Upload("a.txt", None, b"a secret"))


@pytest.mark.req("VEC-3")
async def test_only_what_changed_of_a_new_version_is_embedded_anew(world: World) -> None:
    acme, embedder = world.acme, WordEmbedder()
    library = Knowledge.over(world, embedder)
    sections = [f"# Part {n}\n\nThis is what part {n} says.\n\n" for n in range(6)]
    first = await library.ingestor.ingest(acme, _version("".join(sections)))
    other = await library.ingestor.ingest(world.globex, _version("# Theirs\n\nText."))
    sections[3] = "# Part 3\n\nThis is what it says now.\n\n"
    embedder.embedded.clear()
    second = await library.ingestor.ingest(acme, _version("".join(sections)))
    changed = "# Part 3\n\nThis is what it says now."
    assert embedder.embedded == [f"Part 3\n{changed}"]
    assert second.document_id == first.document_id != other.document_id
    found = library.rows(
        "SELECT content FROM tenantry.chunks WHERE document_id = %s ORDER BY chunk_no",
        second.document_id,
    )
    assert [text for (text,) in found][2:4] == [sections[2].strip(), changed]
    listed = await library.documents.list_documents(acme, UUID(int=0), 10)
    assert [(d.document_id, d.source) for d in listed] == [(first.document_id, "folder/parts.md")]
    metered = library.rows(
        "SELECT count(*) FROM tenantry.usage_events"
        " WHERE tenant_id = %s AND operation = 'embedding'",
        acme.tenant,
    )
    assert metered == [(2,)]


def _version(text: str) -> Upload:
    return Upload("parts.md", "text/markdown", text.encode(), "folder/parts.md")
