"""What the parsers build: storable text, sections that cover it, headings that end each other."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import TooLarge
from tenantry.knowledge.parse.parsed import MOST_TEXT, TextBuilder

ANY_TEXT = st.text(st.characters(), max_size=40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), ANY_TEXT),
        st.tuples(st.just("heading"), ANY_TEXT),
        st.tuples(st.just("page"), ANY_TEXT),
    ),
    max_size=20,
)


@pytest.mark.req("VEC-3")
@given(STEPS)
def test_sections_cover_the_text_without_gaps_or_overlaps(steps: list[tuple[str, str]]) -> None:
    builder = TextBuilder()
    for number, (step, text) in enumerate(steps, start=1):
        if step == "add":
            builder.add(text)
        elif step == "heading":
            builder.heading(number % 6 + 1, text)
        else:
            builder.page(number)
    parsed = builder.build(len(steps) + 1)
    edges = [0, *(section.end for section in parsed.sections)]
    assert [section.start for section in parsed.sections] == edges[:-1]
    assert edges[-1] == len(parsed.text)
    assert all(before.page <= after.page for before, after in pairwise(parsed.sections))


@pytest.mark.req("VEC-3")
@given(st.text(st.characters(categories=["Cs", "Cc", "L"]), max_size=60))
def test_what_postgres_and_utf8_cannot_store_is_gone(text: str) -> None:
    builder = TextBuilder()
    builder.heading(1, text)
    builder.add(text)
    parsed = builder.build()
    assert "\0" not in parsed.text
    parsed.text.encode()
    parsed.sections[0].heading.encode()


@pytest.mark.req("VEC-3")
def test_a_heading_ends_those_of_its_own_and_deeper_levels() -> None:
    builder = TextBuilder()
    for level, name in ((1, "A"), (2, "B"), (3, "C"), (2, "D"), (1, "E")):
        builder.heading(level, name)
        builder.add("text\n")
    headings = [section.heading for section in builder.build().sections]
    assert headings == ["A", "A > B", "A > B > C", "A > D", "E"]


@pytest.mark.req("VEC-3")
def test_a_heading_is_written_as_markdown_where_the_format_has_no_marks() -> None:
    builder = TextBuilder()
    builder.heading(2, " Two \n words ")
    builder.add("Body.")
    assert builder.build().text == "\n## Two words\n\nBody."


@pytest.mark.req("VEC-3")
def test_text_on_a_page_before_its_first_heading_is_a_section_of_the_last_heading() -> None:
    builder = TextBuilder()
    builder.heading(1, "Kept")
    builder.add("one")
    builder.page(2)
    builder.add("two")
    sections = builder.build(2).sections
    assert [(section.heading, section.page) for section in sections] == [("Kept", 1), ("Kept", 2)]


@pytest.mark.req("VEC-3")
def test_a_heading_of_a_novel_is_cut_short() -> None:
    builder = TextBuilder()
    builder.heading(1, "x" * 5000)
    builder.add("body")
    assert len(builder.build().sections[0].heading) == 120


@pytest.mark.req("VEC-3")
def test_more_text_than_a_document_may_hold_is_refused_while_it_is_collected() -> None:
    builder = TextBuilder()
    builder.add("x" * MOST_TEXT)
    with pytest.raises(TooLarge, match="split it"):
        builder.add("y")


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("pieces", "fresh"), [((), True), (("text",), False), (("text", "\n", ""), True)]
)
def test_a_builder_knows_whether_a_line_begins(pieces: tuple[str, ...], fresh: bool) -> None:
    builder = TextBuilder()
    for piece in pieces:
        builder.add(piece)
    assert builder.at_line_start is fresh
