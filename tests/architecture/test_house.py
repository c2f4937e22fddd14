"""Rules of the house that a reader could check by hand, and so would not."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.source import PACKAGE, modules

_VAGUE = re.compile(r"(utils?|helpers?|common|misc|manager|service|base_\w+)")
_CLOCKS = frozenset(
    {
        "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
        "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now",
    }
)  # fmt: skip
# Each reads what it is given by its own process's starter, and hands values down.
_READS_ENVIRONMENT = frozenset(
    {
        "core/settings.py", "cli/client.py", "db/embedded.py", "providers/registry.py",
        "security/vault/keepers.py", "connectors/mcp_child.py",
    }
)  # fmt: skip
_CATCHES_ALL = frozenset({"api/server.py", "workers/worker.py"})


def _annotation(argument: ast.arg) -> str:
    """The annotation as text; of `Annotated[X, …]`, what it is about."""
    said = ast.unparse(argument.annotation) if argument.annotation else ""
    return said.removeprefix("Annotated[").partition(",")[0] if "Annotated[" in said else said


def _functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def _attributes(*names: str) -> set[str]:
    return {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in names
    }


@pytest.mark.req("DB-6")
def test_a_tenant_context_is_called_ctx_comes_first_and_is_never_optional() -> None:
    for path, function in _functions():
        arguments = function.args
        plain = [*arguments.posonlyargs, *arguments.args]
        for place, argument in enumerate([*plain, *arguments.kwonlyargs]):
            said = _annotation(argument)
            if "TenantContext" not in said:
                continue
            where = f"{path}:{function.lineno} {function.name}"
            assert said == "TenantContext", f"{where}: {said}"
            assert argument.arg == "ctx", where
            is_edge = path.startswith("api/") or function.name.startswith("_")
            first = 1 if plain[0].arg in {"self", "cls"} else 0
            assert is_edge or place == first, f"{where}: ctx is argument {place}"
            assert len(plain) - len(arguments.defaults) > place, f"{where}: ctx has a default"


@pytest.mark.req("DB-6")
def test_contexts_are_made_only_by_authentication_and_for_the_platforms_own_work() -> None:
    makers = {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func)
        in {"ContextMint", "TenantContext", "self._mint.mint", "self.base.mint.mint"}
    }
    assert makers == {
        "foundation.py", "isolation/context.py", "jobs/attempt.py", "security/auth.py",
        "upkeep.py",
    }  # fmt: skip


def test_the_tenant_is_never_ambient() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            assert not {"contextvars", "threading.local"} & set(names), path


def test_no_module_reads_the_clock_by_itself() -> None:
    assert _attributes(*_CLOCKS) <= {"core/clock.py"}


def test_no_room_reads_the_environment() -> None:
    assert _attributes("os.environ", "os.getenv") <= _READS_ENVIRONMENT


@pytest.mark.req("SEC-6")
def test_randomness_is_the_systems_own() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert ast.unparse(node).split()[1].split(".")[0] != "random", path


def test_only_the_last_door_catches_everything() -> None:
    found = set()
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "BaseException"
                is_broad = re.search(r"\b(Base)?Exception\b", caught)
                if is_broad and not _ends_in_raise(node):
                    found.add(path)
    assert found <= _CATCHES_ALL


def _ends_in_raise(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)


def test_modules_are_named_after_things_not_patterns() -> None:
    for file in PACKAGE.rglob("*.py"):
        assert not _VAGUE.fullmatch(file.stem), file


def test_nothing_is_left_for_later() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\b(TODO|FIXME|XXX|raise NotImplementedError)\b", text), file


def test_a_rooms_docstring_is_its_page_and_it_exports_nothing() -> None:
    for file in PACKAGE.glob("*/__init__.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert len(tree.body) == 1, file
        page = ast.get_docstring(tree)
        assert page, file
        assert len(page.splitlines()) >= 3, file


def test_nothing_starts_a_shell_or_runs_text_as_code() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"eval", "exec", "compile", "os.system", "pickle.loads"}, path
                assert "create_subprocess_shell" not in called, path
                assert not any(k.arg == "shell" for k in node.keywords), path
