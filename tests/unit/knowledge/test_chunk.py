"""Chunking: exact offsets, nothing lost, no passage too long, cut where people pause."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.knowledge.chunk import TARGET_BYTES, chunks_of
from tenantry.knowledge.parse.parsed import ParsedDocument, Section
from tenantry.knowledge.parse.plain import parse_markdown, parse_text

PAUSES = 'ab Zß é日本。\n\n\t.!?)"\u2003\u00a0\u2019…Ж🙂'
WORDS = st.text(st.sampled_from(PAUSES), max_size=400)


@st.composite
def documents(draw: st.DrawFn) -> ParsedDocument:
    """Documents of any text, cut into sections at any places."""
    text = draw(st.one_of(WORDS, st.text(max_size=300)))
    places = draw(st.lists(st.integers(0, len(text)), max_size=5))
    edges = sorted({0, len(text), *places})
    sections = (
        Section(draw(st.sampled_from(["", "A", "A > B"])), number, start, end)
        for number, (start, end) in enumerate(pairwise(edges), start=1)
    )
    return ParsedDocument(text, tuple(sections), max(1, len(edges)))


targets = st.integers(4, 120)


@pytest.mark.req("VEC-3")
@given(documents(), targets)
def test_a_passage_is_exactly_the_text_between_its_offsets(
    document: ParsedDocument, target: int
) -> None:
    for number, chunk in enumerate(chunks_of(document, target)):
        assert chunk.number == number
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip() == chunk.text != ""


@pytest.mark.req("VEC-3")
@given(documents(), targets)
def test_passages_hold_all_text_once_and_in_order(document: ParsedDocument, target: int) -> None:
    end = 0
    for chunk in chunks_of(document, target):
        assert document.text[end : chunk.start].strip() == ""
        assert chunk.start >= end
        end = chunk.end
    assert document.text[end:].strip() == ""


@pytest.mark.req("VEC-3")
@given(documents(), targets)
def test_no_passage_is_longer_than_the_target(document: ParsedDocument, target: int) -> None:
    assert all(len(chunk.text.encode()) <= target for chunk in chunks_of(document, target))


@pytest.mark.req("VEC-3")
@given(documents(), targets)
def test_a_passage_lies_in_one_section_and_carries_its_heading_and_page(
    document: ParsedDocument, target: int
) -> None:
    for chunk in chunks_of(document, target):
        (section,) = [s for s in document.sections if s.start <= chunk.start < s.end]
        assert chunk.end <= section.end
        assert (chunk.heading, chunk.page) == (section.heading, section.page)


@pytest.mark.req("VEC-3")
@given(st.text(max_size=200))
def test_a_section_that_fits_stays_whole(text: str) -> None:
    document = ParsedDocument(text, (Section("", 1, 0, len(text)),) if text else ())
    expected = [text.strip()] if text.strip() else []
    assert [chunk.text for chunk in chunks_of(document)] == expected


@pytest.mark.req("VEC-3")
def test_a_cut_falls_between_paragraphs_if_it_can() -> None:
    paragraphs = [f"{name} " + "says a thing. " * 20 for name in ("One", "Two", "Three", "Four")]
    chunks = chunks_of(parse_text("\n\n".join(paragraphs).encode()), 400)
    assert [chunk.text for chunk in chunks] == [paragraph.strip() for paragraph in paragraphs]


@pytest.mark.req("VEC-3")
def test_a_cut_in_a_wrapped_paragraph_falls_between_sentences_not_lines() -> None:
    text = ("A sentence that is long enough to be\nwrapped over two lines of text. " * 30).strip()
    chunks = chunks_of(parse_text(text.encode()), 400)
    assert len(chunks) > 3
    assert all(chunk.text.endswith("of text.") for chunk in chunks)
    assert all(chunk.text.startswith("A sentence") for chunk in chunks)


@pytest.mark.req("VEC-3")
def test_a_cut_without_sentences_falls_between_words() -> None:
    chunks = chunks_of(parse_text(b"word " * 500), 100)
    assert all(set(chunk.text.split()) == {"word"} for chunk in chunks)


@pytest.mark.req("VEC-3")
def test_text_without_any_break_is_cut_at_the_target() -> None:
    chunks = chunks_of(parse_text(b"x" * 3000), 1000)
    assert [len(chunk.text) for chunk in chunks[:2]] == [1000, 1000]
    assert "".join(chunk.text for chunk in chunks) == "x" * 3000


@pytest.mark.req("VEC-3")
def test_the_rest_of_a_section_is_never_a_crumb() -> None:
    for length in range(801, 1200, 7):
        sizes = [len(chunk.text) for chunk in chunks_of(parse_text(b"ab cd. " * (length // 7 + 1)))]
        assert min(sizes) > TARGET_BYTES // 4


@pytest.mark.req("VEC-3")
def test_every_row_of_a_long_list_stays_whole() -> None:
    rows = [f"item: bag no. {n}; price: {n}.50" for n in range(200)]
    chunks = chunks_of(parse_text("\n\n".join(rows).encode()))
    assert [line for c in chunks for line in re.split(r"\n+", c.text)] == rows


@pytest.mark.req("VEC-3")
def test_a_dense_script_gets_fewer_characters_a_passage() -> None:
    latin = chunks_of(parse_text(b"Refunds take 21 days. " * 200))[0]
    chinese = chunks_of(parse_text("退款必须在二十一天内提出。".encode() * 200))[0]
    assert 3 * len(chinese.text) <= TARGET_BYTES
    assert len(chinese.text.encode()) > TARGET_BYTES // 2
    assert len(latin.text) > TARGET_BYTES // 2


@pytest.mark.req("VEC-3")
def test_a_passage_is_never_only_a_heading() -> None:
    text = b"# Handbook\n\n## Bags\n\n### Cabin\n\nOne bag.\n\n## Seats\n\nAny seat.\n"
    chunks = chunks_of(parse_markdown(text))
    assert [chunk.heading for chunk in chunks] == ["Handbook > Bags > Cabin", "Handbook > Seats"]
    assert chunks[0].text == "# Handbook\n\n## Bags\n\n### Cabin\n\nOne bag."


@pytest.mark.req("VEC-3")
def test_ten_megabytes_in_one_section_are_cut_in_linear_work() -> None:
    chunks = chunks_of(parse_text(b"Some words here. " * 580_000))
    assert sum(len(chunk.text) for chunk in chunks) > 9_000_000
