"""HTML: the visible text with its headings; nothing is fetched, no script or style survives."""

from typing import Any

import lxml.html as lxml_html
from lxml import etree

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder
from tenantry.knowledge.parse.plain import decode

_SKIPPED = frozenset({"script", "style", "noscript", "template", "head", "svg", "iframe", "object"})
_BLOCKS = frozenset(
    {
        "p", "div", "section", "article", "header", "footer", "main", "aside", "ul", "ol", "table",
        "tr", "blockquote", "pre", "figure", "figcaption", "dl", "dt", "dd", "br", "hr", "form",
    }
)  # fmt: skip
_DEEPEST = 200


def parse_html(content: bytes) -> ParsedDocument:
    """The visible text of a page.

    Raises:
        DocumentUnreadable: there is no page in it.
    """
    parser = lxml_html.HTMLParser(no_network=True, huge_tree=False, remove_comments=True)
    try:
        root = lxml_html.document_fromstring(decode(content), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise DocumentUnreadable("The file is not a readable HTML page.") from error
    builder = TextBuilder()
    _walk(root, builder, 0)
    title = " ".join((root.findtext(".//title") or "").split())
    return builder.build(title)


def _walk(element: Any, builder: TextBuilder, depth: int) -> None:
    tag: object = element.tag  # a comment's is a function
    if not isinstance(tag, str) or tag in _SKIPPED:
        return
    name = tag
    if depth > _DEEPEST:
        raise DocumentUnreadable("The page is nested too deeply.")
    if len(name) == 2 and name[0] == "h" and name[1] in "123456":
        text = " ".join("".join(map(str, element.itertext())).split())
        builder.heading(int(name[1]), text)
        builder.add(text + "\n")
        return
    if name == "li":
        builder.add("\n- ")
    _add(builder, element.text)
    for child in element:
        _walk(child, builder, depth + 1)
        _add(builder, child.tail)
    if name in {"td", "th"}:
        builder.add(" | ")
    elif name in _BLOCKS:
        builder.add("\n")


def _add(builder: TextBuilder, text: str | None) -> None:
    if text:
        inner = " ".join(text.split())
        before = " " if text[0].isspace() and inner else ""
        after = " " if text[-1].isspace() else ""
        builder.add(before + inner + after)
