"""HTML: what a reader sees, with its structure; nothing that runs, and nothing fetched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.html import parse_html


def _text(content: str | bytes) -> str:
    return parse_html(content.encode() if isinstance(content, str) else content).text


@pytest.mark.req("VEC-3")
def test_headings_begin_sections_and_stand_as_markdown() -> None:
    document = parse_html(b"<h1>One <b>two</b></h1><p>text</p><h2>Sub</h2><p>more</p>")
    assert [section.heading for section in document.sections] == ["One two", "One two > Sub"]
    assert document.text == "\n# One two\n\ntext\n\n\n## Sub\n\nmore\n\n"


@pytest.mark.req("VEC-3", "SEC-1")
@pytest.mark.parametrize(
    "hidden",
    [
        "<script>secret()</script>",
        "<style>.secret {}</style>",
        "<!-- secret -->",
        "<?php secret ?>",
        "<template><p>secret</p></template>",
        "<noscript>secret</noscript>",
        "<svg><text>secret</text></svg>",
        "<iframe>secret</iframe>",
        "<object>secret</object>",
        "<nav><a>secret</a></nav>",
        "<p hidden>secret</p>",
        "<div style='Color:red; display : none'><p>secret</p></div>".replace(" :", ":"),
        "<h1>Seen<script>secret</script></h1>",
        "<pre><script>secret</script></pre>",
        "<table><tr><td>x<style>secret</style></td></tr></table>",
        "<img alt='x' src='http://127.0.0.1:9/secret'>",
    ],
)
def test_what_a_reader_does_not_see_is_dropped(hidden: str) -> None:
    text = _text(f"<html><head><title>secret</title></head><body>before{hidden}after</body></html>")
    assert "secret" not in text
    assert text.startswith("before")
    assert text.rstrip().endswith("after")


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo\n\n"),
        ("before<p>in</p>after", "before\nin\n\nafter"),
        ("<ul><li>one<li>two</ul>", "- one\n- two\n\n"),
        ("<p>a <b>b</b>c\n  d</p>", "a bc d\n\n"),
        ("one<br>two", "one\ntwo"),
        ("<pre>  x\n    y</pre>", "  x\n    y\n\n"),
        (
            "<table><tr><th>k<th>v<tr><td><p>1</p><td>a<br>b</table>",
            "| k | v | \n| 1 | a b | \n\n",
        ),
        ("<p>5 &lt; 6 &amp; &eacute;&nbsp;x</p>", "5 < 6 & é x\n\n"),
    ],
)
def test_structure_is_kept_as_lines(content: str, said: str) -> None:
    assert _text(content) == said


@pytest.mark.req("VEC-3")
def test_a_heading_inside_a_table_for_layout_is_still_one() -> None:
    document = parse_html(b"<table><tr><td><h2>Deep</h2><p>text</p></td></tr></table>")
    assert "Deep" in [section.heading for section in document.sections]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "content",
    [
        "<meta charset='windows-1253'><p>Ελλάδα</p>".encode("cp1253"),
        b"<meta http-equiv=x content='text/html; charset=windows-1253'><p>"
        + "Ελλάδα".encode("cp1253"),
        "<?xml version='1.0' encoding='windows-1253'?><html><p>Ελλάδα</p></html>".encode("cp1253"),
        "<?xml version='1.0' encoding='utf-8'?><html><p>Ελλάδα</p></html>".encode(),
        "<meta charset='utf-8'><p>Ελλάδα</p>".encode("utf-16"),
    ],
)
def test_the_encoding_that_a_page_names_is_used(content: bytes) -> None:
    assert "Ελλάδα" in _text(content)


@pytest.mark.req("VEC-3")
def test_entities_that_grow_without_end_stay_as_they_are() -> None:
    names = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol" * 10}">' for n in range(9))
    assert len(_text(f"<!DOCTYPE html [{names}]><html><p>&e8;</p></html>")) < 2000


@pytest.mark.req("VEC-3")
def test_external_entities_are_not_read(tmp_path: object) -> None:
    text = _text('<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><p>a &f; b</p>')
    assert "root" not in text


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<div>" * 250 + b"deep", "nested too deeply"),
        (b"<!-- nothing -->", "not a readable HTML"),
        (b"  ", "not a readable HTML"),
    ],
)
def test_what_is_no_page_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(DocumentUnreadable, match=said):
        parse_html(content)


@pytest.mark.req("VEC-3")
@given(st.text(st.sampled_from("<>/ab=\"' pdivh1tr-!&;\n"), max_size=80))
def test_any_markup_is_read_or_refused(markup: str) -> None:
    try:
        document = parse_html(markup.encode())
    except DocumentUnreadable:
        return
    assert all(section.end <= len(document.text) for section in document.sections)
