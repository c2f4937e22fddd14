"""Options of a MySQL or MariaDB connector, checked before they are stored (CON-1)."""

import ssl
from typing import Annotated, Self

from pydantic import Field, model_validator

from tenantry.connectors.database_options import DatabaseOptions


class MySQLOptions(DatabaseOptions):
    """Where the database is, as whom to log in, and what may be read there."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 3306

    @model_validator(mode="after")
    def _has_one_schema(self) -> Self:
        if self.access.schemas not in (None, [self.database]):
            raise ValueError("access.schemas can name the connector's database alone")
        return self

    def encryption(self) -> ssl.SSLContext | None:
        """How to speak TLS; None for a connection in the clear. Reads files; takes milliseconds."""
        if self.tls == "disable":
            return None
        context = ssl.create_default_context(cadata=self.tls_ca or None)
        if self.tls == "require":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
