"""A document that holds other documents: each is read as itself, under a heading of its name."""

from collections.abc import Collection

from tenantry.core.errors import DocumentUnreadable, TooLarge, UnsupportedMedia
from tenantry.knowledge.formats import format_of
from tenantry.knowledge.parse.parsed import TextBuilder
from tenantry.knowledge.parse.parsers import parser_of


def add_part(builder: TextBuilder, name: str, content: bytes, *, without: Collection[str]) -> bool:
    """Read a part into the document; False if it is of a kind that is not read, such as an image.

    Args:
        builder: of the document that holds it.
        name: of the part, by which it is quoted.
        content: the part.
        without: formats that are not read here: containers end somewhere.

    Raises:
        DocumentUnreadable: the part is broken; says which.
        TooLarge: the part, or all of them together, hold more than a document may; says which.
    """
    try:
        found = format_of(name, None, content)
        if found in without:
            return False
        part = parser_of(found)(content)
    except UnsupportedMedia:
        return False
    except (DocumentUnreadable, TooLarge) as error:
        raise type(error)(f"{name[-100:]}: {error.message}") from error
    builder.include(name, part)
    return True


def add_unread(builder: TextBuilder, names: list[str]) -> None:
    """Say which parts were not read, so that nobody takes the document for all there was."""
    if names:
        builder.heading(1, "Not read")
        builder.add("".join(f"- {name}\n" for name in names))
