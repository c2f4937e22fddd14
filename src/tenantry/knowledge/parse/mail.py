"""EML: who wrote what to whom, and when; then what is attached, each document as itself."""

from email import message_from_bytes, policy
from email.message import EmailMessage, Message

from tenantry.core.errors import DocumentUnreadable
from tenantry.knowledge.parse.decoding import decode
from tenantry.knowledge.parse.html import parse_html
from tenantry.knowledge.parse.parsed import ParsedDocument, TextBuilder
from tenantry.knowledge.parse.parts import add_part, add_unread

_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_MOST_FORWARDED = 20
# What the standard library lets through when a header or a part is not as the format demands.
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)


def parse_eml(content: bytes) -> ParsedDocument:
    """A mail: its headers, its text (plain where there is a choice), its attachments.

    Raises:
        DocumentUnreadable: it is no mail, or a document attached to it is broken.
    """
    builder, unread = TextBuilder(), list[str]()
    try:
        message = message_from_bytes(content, policy=policy.default)
        if not any(name in message for name in ("From", "Date", "Subject", "Received")):
            raise DocumentUnreadable("The file is not a mail.")
        _add_message(builder, message, unread, 0)
    except _BROKEN as error:
        raise DocumentUnreadable("The mail is broken.") from error
    add_unread(builder, unread)
    return builder.build()


def _add_message(
    builder: TextBuilder, message: Message, unread: list[str], forwarded: int
) -> None:  # fmt: skip
    if not isinstance(message, EmailMessage):
        raise DocumentUnreadable("The mail is broken.")
    builder.heading(1, str(message["Subject"] or "Mail"))
    shown = [f"{name}: {message[name]}\n" for name in _SHOWN if message[name]]
    builder.add("".join(shown) + "\n")
    body = message.get_body(("plain", "html"))
    if body is not None:
        builder.add(_text(body) + "\n")
    for part in message.iter_attachments():
        if part.get_content_type() == "message/rfc822" and forwarded < _MOST_FORWARDED:
            _add_message(builder, part.get_content(), unread, forwarded + 1)
            continue
        name = part.get_filename() or part.get_content_type()
        attached = _payload(part)
        if not add_part(builder, name, attached, without=("zip", "eml")):
            unread.append(name)


def _text(body: Message) -> str:
    content = _payload(body)
    if body.get_content_type() == "text/html":
        return parse_html(content).text
    return decode(content, body.get_content_charset() or "")


def _payload(part: Message) -> bytes:
    found = part.get_payload(decode=True)
    return found if isinstance(found, bytes) else b""
