"""Options that connectors of databases share, checked before they are stored (CON-1)."""

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tenantry.core.errors import InvalidRequest
from tenantry.core.events import Json
from tenantry.pools.base import Level

Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
_TableName = Annotated[str, Field(min_length=1, max_length=160, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Columns = Annotated[list[Name], Field(min_length=1, max_length=4_096)]
_TLS_WARNINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "require": ("Whoever answers is believed to be the server: set tls to verify-full.",),
        "disable": ("The connection is not encrypted: set tls to verify-full.",),
    }
)


class Access(BaseModel):
    """Which tables and columns may be read.

    Attributes:
        schemas: those that tables may be in; a kind says which when it is None.
        tables: columns by table, `*` for all of them; a table is named with or without its schema
            or database. None for every table.
        samples: whether some values of each column are shown to a model beforehand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schemas: Annotated[list[Name], Field(max_length=100)] | None = None
    tables: (
        Annotated[
            dict[_TableName, Literal["*"] | _Columns],
            Field(max_length=10_000),
        ]
        | None
    ) = None
    samples: bool = False

    def columns(self, schema: str, table: str, usual: str | None = None) -> frozenset[str] | None:
        """Columns of a table that may be read; None for all, an empty set for none.

        Args:
            schema: the table's schema or database.
            table: its own name.
            usual: the schema of tables that the options name without one; None for any.
        """
        if self.tables is None:
            return None
        allowed = self.tables.get(f"{schema}.{table}")
        if allowed is None and usual in (None, schema):
            allowed = self.tables.get(table)
        return None if allowed == "*" else frozenset(allowed or ())


class DatabaseOptions(BaseModel):
    """Where a database is, as whom to log in, and what may be read there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:-]+$")]
    port: Annotated[int, Field(ge=1, le=65_535)]
    database: Annotated[Name, Field(max_length=64)]
    user: Name
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

    def destination(self) -> str:
        """Host, port and what is asked of its certificate: the password goes nowhere else."""
        return f"{self.host}:{self.port} {self.tls} {self.tls_ca}"

    def warnings(self) -> tuple[str, ...]:
        """What is unwise about them."""
        return _TLS_WARNINGS.get(self.tls, ())
