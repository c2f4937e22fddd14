"""Documents that say what is there: kept true."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from tenantry.cli.main import COMMANDS
from tenantry.core.settings import NOT_SETTINGS, Settings
from tenantry.providers.providers_file import ProvidersFile
from tests.architecture.source import PACKAGE, ROOT, modules, texts

_ROOM = re.compile(r"^  (?:[a-z]+/ +)*[a-z_]+(?:/|\.py)", re.MULTILINE)
_PAGES = (
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
_RECORDED = re.compile(
    r"(?:assistant|break_glass|connector|conversation|document|file|id|key|member|model|model_policy"
    r"|operator_key|pattern|provider|provider_account|query|request|scope|table|tenant|token|tool|usage"
    r"|erase|vault(?!\.key$))\.[a-z_]+"
)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _links(page: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            yield target.partition("#")[0]


def test_the_map_names_every_room_and_no_other() -> None:
    drawn = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    tree = drawn.partition("src/tenantry/\n")[2].partition("```")[0]
    named = {name.rstrip("/") for line in _ROOM.findall(tree) for name in line.split()}
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    alone = {p.name for p in PACKAGE.glob("*.py") if not p.name.startswith("__")}
    assert named == rooms | alone


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in _links(page):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:src|tests|tools|bench|docs|requirements)/[\w./-]+)`", text):
        assert (ROOT / name).exists() or (PACKAGE / name).exists(), name
    for name in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|sql))`", text):
        assert any((base / name).exists() for base in (ROOT, PACKAGE)), name


def test_every_page_of_the_documentation_is_in_its_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in contents


def test_every_setting_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(TENANTRY_[A-Z_]+)`", page))
    assert named == {f"TENANTRY_{f.name.upper()}" for f in fields(Settings)} | NOT_SETTINGS


def test_every_command_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `tenantry ([a-z-]+)", page, re.MULTILINE)) == COMMANDS.keys()


@pytest.mark.req("SEC-4")
def test_every_recorded_action_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    documented = {n for n in re.findall(r"`([a-z_]+\.[a-z_]+)`", page) if _RECORDED.fullmatch(n)}
    spoken = {
        text
        for path, tree in modules().items()
        if not path.startswith(("cli/", "demo/"))
        for _, text in texts(tree)
        if _RECORDED.fullmatch(text)
    }
    migrations = "".join(f.read_text("utf-8") for f in (PACKAGE / "db/migrations").glob("*.sql"))
    spoken |= set(re.findall(r"'(break_glass\.[a-z]+)'", migrations))
    # Whose second half is the standing that the request asked for:
    assert documented == spoken | {"tenant.suspended", "tenant.active"}


def test_the_providers_files_that_are_shown_can_be_used() -> None:
    page = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    shown = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert shown
    for text in shown:
        ProvidersFile.model_validate(json.loads(text))


def test_the_two_commands_of_the_readme_are_what_ci_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "check", "serve", "bench", "soak", "docs", "help"):
        assert re.search(rf"^{target}:.* ## ", makefile, re.MULTILINE), target
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make check\nmake test\n" in run
