"""HTML: the visible text with its headings; nothing is fetched, no script or style survives."""

import re
from collections.abc import Mapping
from typing import Any

import lxml.html as lxml_html
from lxml import etree

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.decoding import decode
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder

_DROPPED = (
    "script", "style", "noscript", "template", "head", "svg", "iframe", "object", "embed", "canvas",
    "nav",  # says where to go, not what is so
)  # fmt: skip
_UNSEEN = "//*[@hidden or contains(translate(@style, ' ', ''), 'display:none')]"
_BLOCKS = frozenset(
    {
        "p", "div", "section", "article", "header", "footer", "main", "aside", "ul", "ol", "li",
        "table", "tr", "blockquote", "figure", "figcaption", "dl", "dt", "dd", "br", "hr", "form",
        "address", "details", "summary", "fieldset", "caption",
    }
)  # fmt: skip
_PARAGRAPHS = frozenset({"p", "ul", "ol", "table", "blockquote", "dl"})
_STRUCTURE = ("table", "ul", "ol", "pre", "h1", "h2", "h3", "h4", "h5", "h6")
_OPENING: Mapping[str, str] = {"li": "- ", "tr": "| "}
_HEADING = re.compile(r"h([1-6])")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*>")
_CHARSET = re.compile(rb"""<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?([\w.:-]+)""")
_CHARSET_WITHIN = 1024
_DEEPEST = 200


def parse_html(content: bytes) -> ParsedDocument:
    """The visible text of a page.

    Raises:
        DocumentUnreadable: there is no page in it.
    """
    found = _CHARSET.search(content[:_CHARSET_WITHIN].lower())
    text = decode(content, found[1].decode("ascii", "replace") if found else "")
    parser = lxml_html.HTMLParser(
        no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        # lxml refuses a text that says which encoding its bytes had.
        root = lxml_html.document_fromstring(_DECLARATION.sub("", text), parser=parser)
    except (etree.LxmlError, ValueError) as error:
        raise DocumentUnreadable("The file is not a readable HTML page.") from error
    etree.strip_elements(root, *_DROPPED, with_tail=False)
    for element in root.xpath(_UNSEEN):
        if element.getparent() is not None:
            element.drop_tree()
    builder = TextBuilder()
    _walk(root, builder, 0)
    return builder.build()


def _walk(element: Any, builder: TextBuilder, depth: int) -> None:
    tag = str(element.tag)
    if depth > _DEEPEST:
        raise DocumentUnreadable("The page is nested too deeply.")
    heading = _HEADING.fullmatch(tag)
    if heading:
        builder.heading(int(heading[1]), "".join(element.itertext()))
    elif tag == "pre":
        _new_line(builder)
        builder.add("".join(element.itertext()) + "\n\n")
    elif tag in {"td", "th"} and next(element.iter(*_STRUCTURE), None) is None:
        builder.add(" ".join(" ".join(element.itertext()).split()) + " | ")
    else:
        _flow(element, tag, builder, depth)


def _flow(element: Any, tag: str, builder: TextBuilder, depth: int) -> None:
    if tag in _BLOCKS:
        _new_line(builder)
        builder.add(_OPENING.get(tag, ""))
    _running(builder, element.text)
    for child in element:
        _walk(child, builder, depth + 1)
        _running(builder, child.tail)
    if tag in _BLOCKS:
        _new_line(builder)
        builder.add("\n" if tag in _PARAGRAPHS else "")


def _new_line(builder: TextBuilder) -> None:
    if not builder.at_line_start:
        builder.add("\n")


def _running(builder: TextBuilder, text: str | None) -> None:
    """Append running text; white space counts as one space, as a browser shows it."""
    inner = " ".join((text or "").split())
    if not text or (not inner and builder.at_line_start):
        return
    before = " " if text[0].isspace() and inner and not builder.at_line_start else ""
    builder.add(before + inner + (" " if text[-1].isspace() else ""))
