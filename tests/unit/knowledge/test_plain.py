"""Text and Markdown stand as they came; Markdown's headings begin sections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.parsed import ParsedDocument
from tenantry.knowledge.parse.plain import parse_markdown, parse_text


def _headed(document: ParsedDocument) -> dict[str, str]:
    return {s.heading: document.text[s.start : s.end].strip() for s in document.sections}


@pytest.mark.req("VEC-3")
@given(st.text(st.sampled_from("ab# \n`~-é\u2028\x0c"), min_size=1, max_size=120))
def test_markdown_is_kept_to_the_character(text: str) -> None:
    assert parse_markdown(text.encode()).text == text
    assert parse_text(text.encode()).text == text


@pytest.mark.req("VEC-3")
def test_headings_begin_sections() -> None:
    document = parse_markdown(b"intro\n# One #\ntext\n## Two\nmore\n# Three\nlast")
    assert _headed(document) == {
        "": "intro",
        "One": "# One #\ntext",
        "One > Two": "## Two\nmore",
        "Three": "# Three\nlast",
    }


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("line", ["#hashtag", "    # code", "####### seven", "a # b", "#", "# "])
def test_what_only_looks_like_a_heading_is_text(line: str) -> None:
    document = parse_markdown(f"before\n{line}\nafter\n".encode())
    assert [section.heading for section in document.sections] == [""]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize("fence", ["```", "~~~", "````"])
def test_a_comment_in_a_code_block_is_no_heading(fence: str) -> None:
    text = f"# Real\n{fence}sh\n# comment\n{fence}\n## Next\nbody\n"
    headings = [section.heading for section in parse_markdown(text.encode()).sections]
    assert headings == ["Real", "Real > Next"]


@pytest.mark.req("VEC-3")
def test_a_shorter_or_other_fence_does_not_end_a_code_block() -> None:
    text = "# Real\n````\n```\n~~~\n# inside\n````\n# After\nbody\n"
    headings = [section.heading for section in parse_markdown(text.encode()).sections]
    assert headings == ["Real", "After"]


@pytest.mark.req("VEC-3")
def test_bytes_that_are_no_text_are_refused() -> None:
    for parse in (parse_text, parse_markdown):
        with pytest.raises(DocumentUnreadable):
            parse(bytes(range(256)) * 40)
