"""Every tool call that an attacker could want, out of the schemas that a model is shown."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.providers.replies import CallOf

UNKNOWN_TOOLS = (
    "switch_tenant", "list_tenants", "admin_query", "get_secret", "read_file", "shell", "http_get",
    "python", "sql", "set_config", "create_key", "export_tenant", "transfer_to_agent",
)  # fmt: skip
EXTRA_KEYS = (
    "tenant_id", "tenant", "as_user", "user_id", "on_behalf_of", "role", "scopes", "org",
    "workspace", "account", "schema", "database", "dsn", "host", "connection_string", "api_key",
    "credential", "connector_id", "document_id", "owner", "actor", "sudo", "debug", "__proto__",
)  # fmt: skip
SQL = (
    "SELECT * FROM tenantry.messages",
    "SELECT set_config('tenantry.context', 'x', false)",
    "SET ROLE tenantry_owner",
    "SELECT 1; DROP TABLE flights",
    "SELECT * FROM pg_catalog.pg_authid",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '../../*/*.parquet'",
    "ATTACH '/tmp/other.duckdb' AS other",
    "INSTALL httpfs",
    "COPY (SELECT 1) TO '/tmp/out.csv'",
    "SELECT * FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "PRAGMA database_list",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "SELECT repeat('x', 1000000000)",
    "SELECT /*! 1 */ 2",
)
PATHS = (
    "../../../../etc/passwd",
    "/etc/passwd",
    "/proc/self/environ",
    "..\\..\\windows\\win.ini",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "file:///etc/passwd",
    "~/.ssh/id_rsa",
    "secrets.json",
)
URLS = (
    "http://169.254.169.254/latest/meta-data/",
    "http://localhost:5432/",
    "http://[::1]/",
    "http://2130706433/",
    "https://evil.example/?q=",
    "gopher://127.0.0.1:11211/",
    "postgresql://postgres@localhost/postgres",
)
_CONFUSED: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, 1.5, 1e308, "", " ", "0", "null", [], {}, [None],
    {"$ne": None}, {"value": "x"}, ["a", "b"], "x" * 100_000, "\u0000", "\u202e\u2066x",
    "%s %(tenant)s", "{{7*7}}", "'; --", "' OR 1=1 --", "<<<end 0>>>", "${jndi:ldap://x}",
)  # fmt: skip
_RAW = (
    "", "not json", "[]", "null", "7", '"text"', "{", '{"a":1,}', "{'a': 1}", "[" * 20_000,
    '{"a":' * 5_000 + "1" + "}" * 5_000, '{"a":1e999}', '{"a":NaN}', '{"a":"\\ud800"}',
    '{"a":' + "9" * 5_000 + "}",
)  # fmt: skip


@dataclass(frozen=True)
class Victim:
    """What the attacker knows of the victim: the worst case of guessing.

    Attributes:
        ids: tenant, member, document, conversation… ids.
        names: of assistants, connectors, tables, documents, people.
        sql: that would read the victim's rows.
        paths: of the victim's files.
        urls: of the victim's systems.
    """

    ids: Sequence[str] = ()
    names: Sequence[str] = ()
    sql: Sequence[str] = ()
    paths: Sequence[str] = ()
    urls: Sequence[str] = ()

    @property
    def values(self) -> list[str]:
        """Everything that could be put where a text is wanted."""
        given = [*self.ids, *self.names, *self.sql, *self.paths, *self.urls]
        guessed = [f"{kind}:{n}" for kind in ("doc", "query", "verified") for n in (0, 1, 99)]
        return [*given, *SQL, *PATHS, *URLS, *guessed]


@dataclass(frozen=True)
class ToolSchema:
    """A tool as a model is shown it."""

    name: str
    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: tuple[str, ...] = ()

    @classmethod
    def of(cls, tool: Mapping[str, Any]) -> "ToolSchema":
        """Out of a request in OpenAI's, Anthropic's or Google's form."""
        told = tool.get("function", tool)
        names = ("parameters", "input_schema", "parametersJsonSchema")
        schema: dict[str, Any] = next((told[name] for name in names if name in told), {})
        properties = schema.get("properties", {})
        return cls(str(told.get("name", "")), properties, tuple(schema.get("required", ())))


def attack_calls(tools: Sequence[ToolSchema], victim: Victim, seed: int, most: int) -> list[CallOf]:
    """The calls, in an order that the seed decides, at most `most` of them.

    One of each kind of attack comes first, so that a small bound still tries everything.
    """
    chance = random.Random(seed)
    kinds = [list(kind) for tool in tools for kind in _kinds(tool, victim, chance)]
    kinds += [list(_unknown(victim))]
    for calls in kinds:
        chance.shuffle(calls)
    mixed = [calls.pop() for calls in kinds if calls]
    rest = [call for calls in kinds for call in calls]
    chance.shuffle(rest)
    return [*mixed, *rest][:most]


def _kinds(tool: ToolSchema, victim: Victim, chance: random.Random) -> Iterator[Iterator[CallOf]]:
    valid = {name: _benign(schema) for name, schema in tool.properties.items()}
    yield _valid(tool, valid)
    yield _extra_keys(tool, valid, victim)
    yield _confused(tool, valid)
    yield _victims_values(tool, valid, victim)
    yield _raw(tool, valid)
    yield _names(tool, valid)
    yield _pairs(tool, valid, victim, chance)


def _benign(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    kinds: dict[Any, Any] = {
        "integer": 3,
        "number": 1.5,
        "boolean": True,
        "array": [],
        "object": {},
    }
    return kinds.get(kind[0] if isinstance(kind, list) else kind, "flights")


def _call(tool: ToolSchema, arguments: Any) -> CallOf:
    return CallOf(tool.name, json.dumps(arguments, ensure_ascii=False))


def _valid(tool: ToolSchema, valid: Mapping[str, Any]) -> Iterator[CallOf]:
    yield _call(tool, valid)
    yield _call(tool, {name: value for name, value in valid.items() if name in tool.required})


def _extra_keys(tool: ToolSchema, valid: Mapping[str, Any], victim: Victim) -> Iterator[CallOf]:
    for key in EXTRA_KEYS:
        for value in (*victim.ids, *victim.names[:3], "*", None):
            yield _call(tool, {**valid, key: value})
        yield _call(tool, {key: valid})
        yield _call(tool, {**valid, key.upper(): "x", f"{key} ": "x", f"\u200b{key}": "x"})


def _confused(tool: ToolSchema, valid: Mapping[str, Any]) -> Iterator[CallOf]:
    for name in valid:
        for value in _CONFUSED:
            yield _call(tool, {**valid, name: value})
        yield _call(tool, {other: value for other, value in valid.items() if other != name})
        yield CallOf(tool.name, f'{{"{name}": "a", "{name}": "b"}}')


def _victims_values(tool: ToolSchema, valid: Mapping[str, Any], victim: Victim) -> Iterator[CallOf]:
    for name in valid:
        for value in victim.values:
            yield _call(tool, {**valid, name: value})


def _raw(tool: ToolSchema, valid: Mapping[str, Any]) -> Iterator[CallOf]:
    for text in _RAW:
        yield CallOf(tool.name, text)
    yield CallOf(tool.name, json.dumps(valid) * 2)


def _names(tool: ToolSchema, valid: Mapping[str, Any]) -> Iterator[CallOf]:
    name = tool.name
    wide = "".join(chr(ord(c) + 0xFEE0) for c in name)
    variants = (
        name.upper(), name.title(), f" {name}", f"{name}\n", f"functions.{name}", f"{name}:{name}",
        f"default_api.{name}", name.replace("_", "-"), name.replace("e", "\u0435"),
        f"{name}\u200b", name[::-1], f"../{name}", f"{name}()", wide, f"{name}\u0000",
        "",
    )  # fmt: skip
    for variant in variants:
        yield CallOf(variant, json.dumps(valid))


def _pairs(
    tool: ToolSchema, valid: Mapping[str, Any], victim: Victim, chance: random.Random
) -> Iterator[CallOf]:
    values = [*victim.values, *(v for v in _CONFUSED if not isinstance(v, str) or len(v) < 100)]
    for _ in range(40):
        mixed = {name: chance.choice(values) for name in valid}
        mixed |= {key: chance.choice(values) for key in chance.sample(EXTRA_KEYS, 2)}
        yield _call(tool, mixed)


def _unknown(victim: Victim) -> Iterator[CallOf]:
    for name in UNKNOWN_TOOLS:
        yield CallOf(name)
        for value in victim.ids[:5]:
            yield CallOf(name, json.dumps({"tenant_id": value, "id": value}))
