"""The parser of each format, by name: a process loads the libraries of its document only."""

from collections.abc import Callable, Mapping
from importlib import import_module

from tenantry.core.errors import UnsupportedMedia
from tenantry.knowledge.formats import Format
from tenantry.knowledge.parse.parsed import ParsedDocument

_PARSERS: Mapping[Format, tuple[str, str]] = {
    "text": ("plain", "parse_text"),
    "markdown": ("plain", "parse_markdown"),
    "csv": ("table", "parse_csv"),
    "html": ("html", "parse_html"),
    "docx": ("word", "parse_docx"),
    "pptx": ("slides", "parse_pptx"),
    "xlsx": ("sheets", "parse_xlsx"),
    "pdf": ("pdf", "parse_pdf"),
    "eml": ("mail", "parse_eml"),
    "zip": ("archive", "parse_zip"),
}


def parser_of(name: Format) -> Callable[[bytes], ParsedDocument]:
    """What reads a format; loads its libraries.

    Raises:
        UnsupportedMedia: this installation lacks a library that the format needs.
    """
    module, function = _PARSERS[name]
    try:
        found = import_module(f"tenantry.knowledge.parse.{module}")
    except ModuleNotFoundError as error:
        raise UnsupportedMedia(
            f"This installation does not read {name.upper()}: it lacks tenantry[documents]."
        ) from error
    parse: Callable[[bytes], ParsedDocument] = getattr(found, function)
    return parse
