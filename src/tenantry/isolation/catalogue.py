"""A snapshot of what `pg_catalog` says about isolation; the rules over it are in `policies`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenantry.db.queries import load
from tenantry.isolation.declared import PLATFORM_TABLES
from tenantry.isolation.statements import Statements

_SQL = load("tenantry.isolation")
_TABLES = frozenset({"r", "p", "f"})
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view or sequence; `kind` as in `pg_class.relkind`."""

    name: str
    kind: str
    owner: str
    is_enabled: bool
    is_forced: bool
    options: tuple[str, ...]
    has_tenant: bool
    has_rules: bool
    has_audience: bool = False

    @property
    def is_tenant_table(self) -> bool:
        """Whether the tenant rules hold for it: everything in our schema unless declared."""
        ours = self.name.startswith("tenantry.") and self.name not in PLATFORM_TABLES
        return self.kind in _TABLES and (self.has_tenant or ours)


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index or exclusion constraint; None stands for an expression."""

    relation: str
    name: str
    is_primary: bool
    columns: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key with its columns on both sides."""

    relation: str
    name: str
    target: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A row-level security policy; PUBLIC among `roles` is an empty name."""

    relation: str
    name: str
    is_permissive: bool
    command: str
    roles: tuple[str, ...]
    condition: str | None
    check_condition: str | None


@dataclass(frozen=True, slots=True)
class Function:
    """A function of ours, or one with definer's rights; `callers` beside the owner."""

    name: str
    is_definer: bool
    is_leakproof: bool
    search_path: str
    callers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege on a relation, column or schema of ours; PUBLIC is an empty role."""

    object: str
    role: str
    privilege: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What `pg_catalog` says about this database, as far as the rules need it."""

    relations: tuple[Relation, ...] = ()
    unique_indexes: tuple[UniqueIndex, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    policies: tuple[Policy, ...] = ()
    functions: tuple[Function, ...] = ()
    grants: tuple[Grant, ...] = ()

    @property
    def tenant_tables(self) -> tuple[Relation, ...]:
        """Tables that the tenant rules hold for."""
        return tuple(r for r in self.relations if r.is_tenant_table)


async def read_catalogue(statements: Statements) -> Catalogue:
    """A snapshot of `pg_catalog`; any role may read what it needs."""

    async def read(query: str, kind: Callable[..., _Row]) -> tuple[_Row, ...]:
        rows = await statements.rows(_SQL[query])
        return tuple(kind(**{k: _frozen(v) for k, v in row.items()}) for row in rows)

    return Catalogue(
        relations=await read("catalogue_relations", Relation),
        unique_indexes=await read("catalogue_unique_indexes", UniqueIndex),
        foreign_keys=await read("catalogue_foreign_keys", ForeignKey),
        policies=await read("catalogue_policies", Policy),
        functions=await read("catalogue_functions", Function),
        grants=await read("catalogue_grants", Grant),
    )


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
