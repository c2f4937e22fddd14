"""PPTX: each slide as a page: title, texts, tables and the speaker's notes, in order."""

import io
import zipfile
from collections.abc import Iterable
from typing import Any

from lxml import etree
from pptx import Presentation
from pptx.exc import PythonPptxError

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder
from tenantry.knowledge.parse.zipped import unzipped

_BROKEN = "The file is not a readable PowerPoint presentation."
_DEEPEST = 50
_FAULTS = (
    PythonPptxError, LookupError, ValueError, TypeError, AttributeError, zipfile.BadZipFile,
    etree.LxmlError,
)  # fmt: skip


def parse_pptx(content: bytes) -> ParsedDocument:
    """The slides of a presentation.

    Raises:
        DocumentUnreadable: it is no presentation, or holds no text.
        TooLarge: it unpacks to more than a document can be.
    """
    unzipped(content, _BROKEN).close()
    builder = TextBuilder()
    try:
        # No entity is resolved: neither a file's content nor an XML bomb gets in.
        slides = list(Presentation(io.BytesIO(content)).slides)
        for number, slide in enumerate(slides, start=1):
            builder.page(number)
            _slide(slide, number, builder)
    except _FAULTS as error:
        raise DocumentUnreadable(_BROKEN) from error
    if not builder.has_text:
        raise DocumentUnreadable("The presentation holds no text.")
    return builder.build(len(slides))


def _slide(slide: Any, number: int, builder: TextBuilder) -> None:
    title = slide.shapes.title
    name = title.text_frame.text.strip() if title is not None else ""
    builder.heading(1, name or f"Slide {number}")
    _shapes((s for s in slide.shapes if title is None or s.shape_id != title.shape_id), builder, 0)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None:
        builder.add(f"Notes: {notes.text}\n\n" if notes.text.strip() else "")


def _shapes(shapes: Iterable[Any], builder: TextBuilder, depth: int) -> None:
    if depth > _DEEPEST:
        raise DocumentUnreadable("The presentation is nested too deeply.")
    for shape in shapes:
        if hasattr(shape, "shapes"):
            _shapes(shape.shapes, builder, depth + 1)
        elif shape.has_text_frame:
            text = shape.text_frame.text
            builder.add(text + "\n\n" if text.strip() else "")
        elif getattr(shape, "has_table", False):
            for row in shape.table.rows:
                cells = " | ".join(" ".join(cell.text.split()) for cell in row.cells)
                builder.add(f"| {cells} |\n")
            builder.add("\n")
