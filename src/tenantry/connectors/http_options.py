"""Options of a connector to an HTTP API: read from a request, and as they are stored (CON-2).

What is stored can be sent back as it is: reading it again gives the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

import orjson

from tenantry.connectors.exposure import Exposure
from tenantry.connectors.http_credentials import Authentication
from tenantry.connectors.openapi_document import ApiDocument, parse, read
from tenantry.connectors.openapi_schema import clean
from tenantry.connectors.option_values import (
    MOST_NAMES,
    BaseUrl,
    Writes,
    names_of,
    object_of,
    writes_of,
)
from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json

_KNOWN = frozenset(
    {
        "document", "document_url", "document_sha256", "base_url", "operations", "fixed", "expose",
        "auth", "writes", "left_out",
    }
)  # fmt: skip
_MOST_STORED_BYTES = 512 * 1024
_DOCUMENT_URL = re.compile(r"https?://[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """A connector to an API, without its secret.

    Attributes:
        document: what it offers; None until a document that is given by its URL was fetched.
        document_url: where the document was found; empty if it was given itself.
        document_sha256: of the document as it was accepted.
        base: what paths are appended to, without a slash at its end; None until it is known.
        allow: names of the operations chosen; None is every one that only reads.
        exposure: arguments that the configuration fills; of a body, `body.a.b`.
        auth: how the API is told who calls.
        writes: whether operations that change something may be called, and when.
    """

    document: ApiDocument | None
    document_url: str
    document_sha256: str
    base: BaseUrl | None
    allow: tuple[str, ...] | None
    exposure: Exposure
    auth: Authentication
    writes: Writes

    @classmethod
    def read(cls, options: Mapping[str, Json]) -> "HttpOptions":
        """The options as given or as stored.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """
        if unknown := sorted(options.keys() - _KNOWN):
            raise InvalidRequest(f"A connector of kind http has no option {clean(unknown[0], 40)}.")
        url, given = options.get("document_url"), options.get("document")
        if url is not None and not (isinstance(url, str) and _DOCUMENT_URL.fullmatch(url)):
            raise InvalidRequest("document_url is an http or https URL.")
        if url is None and given is None:
            raise InvalidRequest("Give the OpenAPI document as document, or its document_url.")
        allow = _allow(options.get("operations"))
        document = None if given is None else read(given, allow)
        return cls(
            document=document,
            document_url=url if isinstance(url, str) else "",
            document_sha256=_digest(options, given),
            base=_base_url(options.get("base_url"), document),
            allow=allow,
            exposure=Exposure.read(options),
            auth=Authentication.read(options.get("auth")),
            writes=writes_of(options.get("writes", "refused")),
        )

    def stored(self, left_out: Mapping[str, str]) -> dict[str, Json]:
        """As they are kept: the document with the operations chosen alone.

        Raises:
            InvalidRequest: that is too much.
        """
        kept: dict[str, Json] = {
            "base_url": self.base.url if self.base else "",
            "auth": self.auth.stored(),
            "writes": self.writes,
        }
        if self.document is not None:
            kept |= {
                "document": self.document.written(),
                "document_sha256": self.document_sha256,
                "left_out": dict(left_out),
            }
        optional: dict[str, Json] = {
            "document_url": self.document_url,
            "operations": {} if self.allow is None else {"allow": list(self.allow)},
            **self.exposure.stored(),
        }
        kept |= {name: value for name, value in optional.items() if value}
        if len(orjson.dumps(kept)) > _MOST_STORED_BYTES:
            raise InvalidRequest("The operations chosen are too much text; choose fewer.")
        return kept


def _allow(given: Json) -> tuple[str, ...] | None:
    if given is None:
        return None
    chosen = object_of(given, "operations")
    names = names_of(chosen.get("allow"))
    if names is None or set(chosen) != {"allow"}:
        raise InvalidRequest(f"operations is {{allow: [1 to {MOST_NAMES} names]}}.")
    return names


def _digest(options: Mapping[str, Json], given: Json) -> str:
    known = options.get("document_sha256")
    if isinstance(known, str) and re.fullmatch(r"[0-9a-f]{64}", known):
        return known
    if known is not None:
        raise InvalidRequest("document_sha256 is 64 hexadecimal digits.")
    return "" if given is None else digest_of(given)


def digest_of(document: Json) -> str:
    """SHA-256 of a document, whatever its spacing and the order of its keys."""
    return sha256(orjson.dumps(parse(document), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _base_url(given: Json, document: ApiDocument | None) -> BaseUrl | None:
    url = given or (document.server if document else "")
    if url == "" and document is None:
        return None  # the document that is fetched may say it
    where = BaseUrl.read(url, "base_url")
    return replace(where, url=where.url.rstrip("/"))
