"""Options of a MySQL or MariaDB connector, checked before they are stored (CON-1)."""

import ssl
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.pools.base import Level

_Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Columns = Annotated[list[_Name], Field(min_length=1, max_length=4_096)]


class Access(BaseModel):
    """Which tables and columns may be read.

    Attributes:
        schemas: at most the connector's own database; other kinds have several.
        tables: columns by table, `*` for all of them; a table is named with or without its
            database. None for every table of the database.
        samples: whether some values of each column are shown to a model beforehand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schemas: Annotated[list[_Name], Field(max_length=1)] | None = None
    tables: Annotated[dict[_Name, Literal["*"] | _Columns], Field(max_length=10_000)] | None = None
    samples: bool = False

    def columns(self, database: str, table: str) -> frozenset[str] | None:
        """Columns of `table` that may be read; None for all, an empty set for none."""
        if self.tables is None:
            return None
        allowed = self.tables.get(f"{database}.{table}") or self.tables.get(table) or []
        return None if allowed == "*" else frozenset(allowed)


class MySQLOptions(BaseModel):
    """Where the database is, as whom to log in, and what may be read there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:-]+$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 3306
    database: Annotated[_Name, Field(max_length=64)]
    user: _Name
    tls: Literal["verify-full", "require", "disable"] = "verify-full"
    tls_ca: Annotated[str, Field(max_length=65_536)] = ""
    level: Level = "hybrid"
    access: Access = Access()

    @field_validator("tls_ca")
    @classmethod
    def _is_a_certificate(cls, text: str) -> str:
        if text:
            try:
                ssl.create_default_context(cadata=text)
            except (ssl.SSLError, ValueError) as error:
                raise ValueError("is no certificate in PEM") from error
        return text

    @model_validator(mode="after")
    def _has_one_schema(self) -> Self:
        if self.access.schemas not in (None, [self.database]):
            raise ValueError("access.schemas can name the connector's database alone")
        return self

    @classmethod
    def read(cls, options: Mapping[str, Json]) -> Self:
        """Options as somebody wrote them.

        Raises:
            InvalidRequest: one is missing, unknown or wrong; the message says which.
        """
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part)[:60] for part in first["loc"]) or "access"
            raise InvalidRequest(f"The option {where} is not valid: {first['msg']}.") from None

    def stored(self) -> Mapping[str, Json]:
        """The options as they are stored."""
        stored: dict[str, Json] = self.model_dump(mode="json")
        return stored

    def encryption(self) -> ssl.SSLContext | None:
        """How to speak TLS; None for a connection in the clear. Reads files; takes milliseconds."""
        if self.tls == "disable":
            return None
        context = ssl.create_default_context(cadata=self.tls_ca or None)
        if self.tls == "require":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
