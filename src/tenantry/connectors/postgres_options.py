"""Options of a PostgreSQL connector, checked before they are stored (CON-1)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tenantry.connectors.database_options import DatabaseOptions

USUAL_SCHEMA = "public"
"""Where tables are that the options name without a schema."""
_SYSTEM = ("pg_", "information_schema")


class PostgresOptions(DatabaseOptions):
    """Where the database is, as whom to log in, and what may be read there."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 5432

    @model_validator(mode="after")
    def _has_no_system_schema(self) -> Self:
        schemas = self.schemas()
        if not schemas or any(schema.startswith(_SYSTEM) for schema in schemas):
            raise ValueError("access.schemas names one schema or more, none of the system's")
        return self

    def schemas(self) -> tuple[str, ...]:
        """Schemas that may be read: those named as such, or those of the tables named."""
        if self.access.schemas is not None:
            return tuple(self.access.schemas)
        if self.access.tables is None:
            return (USUAL_SCHEMA,)
        named = (name.rpartition(".")[0] for name in self.access.tables)
        return tuple(dict.fromkeys([USUAL_SCHEMA, *(schema for schema in named if schema)]))
