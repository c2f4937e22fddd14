"""The parsing process can only die: it knows nothing, is bounded in all it uses and says."""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core import sandbox
from tenantry.core.errors import DocumentUnreadable, TenantryError, TooLarge, UnsupportedMedia
from tenantry.core.ids import TenantId
from tenantry.isolation.context import Actor, ContextMint, TenantContext
from tenantry.knowledge import parser as parsing
from tenantry.knowledge.formats import Format
from tenantry.knowledge.parse.parsed import ParsedDocument, Section
from tenantry.knowledge.parser import DocumentParser
from tests.unit.knowledge.files import archive, docx, pdf, pptx, xlsx
from tests.unit.knowledge.hostile import take_over

SECTION = {"heading": "", "page": 1, "start": 0, "end": 4}
DOCUMENT = {"text": "text", "sections": [SECTION], "pages": 1}


def context(number: int) -> TenantContext:
    """A context of one of several tenants."""
    actor = Actor("member", UUID(int=number), "owner")
    return ContextMint(b"key").mint(TenantId(UUID(int=number)), actor, frozenset(), "req", 0.0)


ACME, GLOBEX = context(1), context(2)


async def appears(path: Path) -> None:
    """Return when another process has made the file."""
    while not path.exists():  # noqa: ASYNC110  # no event crosses processes
        await asyncio.sleep(0.01)


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text", b"Some text.", "Some text."),
        ("markdown", b"# A\n\nSome text.", "# A\n\nSome text."),
        ("html", b"<p>Some text.", "Some text."),
        ("csv", b"a\nSome text.\n", "a: Some text."),
        ("pdf", pdf("Some text."), "Some text."),
        ("docx", docx("A", "Some text."), "# A\n\nSome text.\n\n| left | right |"),
        ("pptx", pptx(("A", "Some text.")), "# A\n\nSome text.\n\n| left | right |"),
        ("xlsx", xlsx(A=[["a"], ["Some text."]]), "# A\n\na: Some text."),
        ("eml", b"Subject: A\n\nSome text.", "# A\n\nSubject: A\n\nSome text."),
        ("zip", archive({"a.txt": b"Some text."}), "# a.txt\n\nSome text."),
    ],
)
async def test_every_format_is_parsed_in_a_process(name: Format, content: bytes, said: str) -> None:
    document = await DocumentParser().parse(ACME, name, content)
    assert document.text.strip() == said


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("text", bytes(range(256)) * 40, DocumentUnreadable, "not text"),
        ("pdf", b"%PDF-", DocumentUnreadable, "PDF is broken"),
        ("text", b"x" * 10_000_001, TooLarge, "characters of text"),
    ],
)
async def test_a_refusal_comes_through_with_its_words(
    name: Format, content: bytes, error: type[TenantryError], said: str
) -> None:
    with pytest.raises(error, match=said):
        await DocumentParser().parse(ACME, name, content)


@pytest.mark.req("VEC-3", "SEC-4")
async def test_the_process_inherits_no_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TENANTRY_OPERATOR_KEY", "a secret")
    take_over(
        monkeypatch, tmp_path, "answer(json.dumps([dict(os.environ), sys.argv, os.getcwd()]))"
    )
    told = await DocumentParser().parse(ACME, "text", b"x")
    environment, arguments, directory = json.loads(told.text)
    # Python itself sets this one where no locale is given.
    assert set(environment) <= {"LC_CTYPE"}
    assert arguments[1:3] == ["-I", "-m"]
    assert directory == "/"


@pytest.mark.req("VEC-3")
async def test_a_process_that_never_ends_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    take_over(
        monkeypatch, tmp_path, f"open({str(pid)!r}, 'w').write(str(os.getpid()))\nwhile True: pass"
    )
    with pytest.raises(DocumentUnreadable, match="too long"):
        await DocumentParser(timeout_s=1.0).parse(ACME, "text", b"x")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.req("VEC-3")
async def test_a_caller_that_leaves_takes_the_process_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    take_over(
        monkeypatch,
        tmp_path,
        f"open({str(pid)!r} + '~', 'w').write(str(os.getpid()))\n"
        f"os.rename({str(pid)!r} + '~', {str(pid)!r})\nwhile True: pass",
    )
    parser = DocumentParser(processes=1)
    call = asyncio.create_task(parser.parse(ACME, "text", b"x"))
    await appears(pid)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    monkeypatch.undo()
    assert (await parser.parse(ACME, "text", b"next")).text == "next"


@pytest.mark.req("VEC-3")
async def test_a_process_that_says_too_much_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(parsing, "_MOST_OUTPUT", 100_000)
    take_over(monkeypatch, tmp_path, "while True: sys.stdout.write('x' * 65536)")
    with pytest.raises(TooLarge, match="too much text"):
        await DocumentParser().parse(ACME, "text", b"x")


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("os.kill(os.getpid(), 9)", "more time or memory"),
        ("sys.exit(1)", "broken"),
        ("sys.stdin.close()", "broken"),
        ("print('{\"document\"')", "broken"),
        ("raise ZeroDivisionError", "broken"),
    ],
)
async def test_a_process_that_dies_fails_its_own_document_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, said: str
) -> None:
    take_over(monkeypatch, tmp_path, program)
    parser = DocumentParser(processes=1)
    for _ in range(2):  # the first must leave its slot free
        with pytest.raises(DocumentUnreadable, match=said):
            await parser.parse(ACME, "text", b"x" * 1_000_000)


@pytest.mark.req("VEC-3", "FAIR-3")
async def test_a_tenants_slow_documents_hold_back_no_other_tenant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log, done = tmp_path / "log", tmp_path / "globex"
    take_over(
        monkeypatch,
        tmp_path,
        f"import time\ntext = sys.stdin.read()\nlog = open({str(log)!r}, 'a', buffering=1)\n"
        "log.write('start ' + text + '\\n')\n"
        f"if text == 'globex': open({str(done)!r}, 'w')\n"
        f"while not os.path.exists({str(done)!r}): time.sleep(0.01)\n"
        "log.write('end ' + text + '\\n')\nanswer(text)",
    )
    parser = DocumentParser(processes=3, timeout_s=30)
    calls = [asyncio.create_task(parser.parse(ACME, "text", f"{n}".encode())) for n in range(4)]
    await appears(log)
    # All of acme's documents wait until globex's is read.
    calls.append(asyncio.create_task(parser.parse(GLOBEX, "text", b"globex")))
    await asyncio.gather(*calls)
    acme = [line for line in log.read_text().splitlines() if "globex" not in line]
    assert acme == [f"{step} {n}" for n in range(4) for step in ("start", "end")]


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("bytearray(2_000_000_000)", "MemoryError"),
        ("open('/tmp/x-' + str(os.getpid()), 'wb').write(b'x' * 10000)", "OSError"),
        ("print(resource.getrlimit(resource.RLIMIT_CPU))", "(60, 60)"),
        ("print(resource.getrlimit(resource.RLIMIT_NPROC))", "(0, 0)"),
        ("print(resource.getrlimit(resource.RLIMIT_CORE))", "(0, 0)"),
    ],
)
def test_a_confined_process_has_given_up(probe: str, said: str) -> None:
    script = (
        "import os, resource\nfrom tenantry.knowledge.parse.process import confine\nconfine()\n"
        f"try:\n    {probe}\nexcept (MemoryError, OSError) as error:\n"
        "    print(type(error).__name__)\n"
    )
    command = [sys.executable, "-I", "-B", "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, env={}, check=False)
    assert told.stdout.strip() == said, told.stderr
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] != 60


@pytest.mark.req("VEC-3")
@pytest.mark.skipif(sandbox.landlock_version() == 0, reason="this kernel has no Landlock")
@pytest.mark.parametrize(
    "probe",
    [
        "open({foreign!r}).read()",
        "open('/etc/passwd').read()",
        "open('/proc/self/environ').read()",
        "open(f'/proc/{{os.getppid()}}/environ').read()",
        "os.listdir(os.path.dirname({foreign!r}))",
        "os.unlink({foreign!r})",
        "socket.create_connection(('127.0.0.1', {port}), 2)",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
    ],
)
def test_a_process_that_a_document_took_over_reaches_nothing(tmp_path: Path, probe: str) -> None:
    foreign = tmp_path / "vault.key"
    foreign.write_text("a secret of the server's")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attempt = probe.format(foreign=str(foreign), port=listener.getsockname()[1])
        script = (
            "import encodings.idna, os, socket, zipfile\n"
            "from tenantry.knowledge.parse.process import enclose\nenclose()\n"
            "import encodings.koi8_r  # Python's own files are there still\n"
            f"try:\n    {attempt}\n    print('reached')\nexcept PermissionError:\n"
            "    print('refused')\n"
        )
        command = [sys.executable, "-I", "-B", "-c", script]
        told = subprocess.run(command, capture_output=True, text=True, env={}, check=False)
    assert told.stdout.strip() == "refused", told.stderr
    assert foreign.exists()


@pytest.mark.req("VEC-3")
def test_what_a_good_process_says_is_taken() -> None:
    document = parsing._document(orjson.dumps({"document": DOCUMENT}), 0)
    assert document == ParsedDocument("text", (Section("", 1, 0, 4),), 1)


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    "document",
    [
        {},
        {**DOCUMENT, "text": None},
        {**DOCUMENT, "text": ["t", "e", "x", "t"]},
        {**DOCUMENT, "pages": 1.0},
        {**DOCUMENT, "pages": 0},
        {**DOCUMENT, "sections": None},
        {**DOCUMENT, "sections": ["text"]},
        {**DOCUMENT, "sections": [SECTION, SECTION]},
        {**DOCUMENT, "sections": [{**SECTION, "heading": None}]},
        {**DOCUMENT, "sections": [{**SECTION, "page": 2}]},
        {**DOCUMENT, "sections": [{**SECTION, "page": 0}]},
        {**DOCUMENT, "sections": [{**SECTION, "page": True}]},
        {**DOCUMENT, "sections": [{**SECTION, "start": -1}]},
        {**DOCUMENT, "sections": [{**SECTION, "start": 0.5}]},
        {**DOCUMENT, "sections": [{**SECTION, "start": 4}]},
        {**DOCUMENT, "sections": [{**SECTION, "end": 5}]},
        {**DOCUMENT, "sections": [{"heading": ""}]},
    ],
)
def test_a_document_that_cannot_be_is_refused(document: object) -> None:
    with pytest.raises(DocumentUnreadable, match="broken"):
        parsing._document(orjson.dumps({"document": document}), 0)


@pytest.mark.req("VEC-3")
@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"error": "UnsupportedMedia", "message": "No."}, UnsupportedMedia, "No."),
        ({"error": "StartupRefused", "message": "No."}, DocumentUnreadable, "No."),
        ({"error": "TooLarge", "message": "x" * 9999}, TooLarge, "^x{300}$"),
        ({"error": "TooLarge"}, DocumentUnreadable, "broken"),
        ({"error": ["TooLarge"], "message": "No."}, DocumentUnreadable, "broken"),
        ([], DocumentUnreadable, "broken"),
        (7, DocumentUnreadable, "broken"),
    ],
)
def test_only_errors_of_documents_are_believed(
    answer: object, error: type[TenantryError], said: str
) -> None:
    with pytest.raises(error, match=said):
        parsing._document(orjson.dumps(answer), 0)


@pytest.mark.req("VEC-3")
@given(st.binary(max_size=200), st.integers(-20, 20))
def test_any_output_is_a_document_or_an_error_of_ours(output: bytes, status: int) -> None:
    with pytest.raises(DocumentUnreadable):
        parsing._document(output, status)
