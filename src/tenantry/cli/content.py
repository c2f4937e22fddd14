"""`tenantry ingest | search | ask`: what a tenant puts in, and what it gets out."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from tenantry.cli.client import Client
from tenantry.cli.file_sources import FileSource, SourceFile, file_source
from tenantry.cli.file_sync import FileSync, when_done
from tenantry.cli.output import json_option, print_json, show_rows, usd

DATA_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="PATH|s3://BUCKET/PREFIX...")
@click.option(
    "--connector",
    help="Put CSV, TSV and Parquet files into this connector as tables (made if missing), "
    "instead of reading them as documents.",
)
@click.option(
    "--no-wait", is_flag=True, help="Leave documents to the workers, and show their jobs."
)
@click.option("--group", "groups", multiple=True, help="Only its members may read; repeatable.")
@click.option(
    "--watch",
    is_flag=True,
    help="Keep one folder or bucket in step until stopped: new, changed, removed.",
)
@json_option
def ingest(
    places: tuple[str, ...],
    connector: str | None,
    no_wait: bool,
    groups: tuple[str, ...],
    watch: bool,
    as_json: bool,
) -> None:
    """Add files, whole folders, or the objects of a bucket, to the knowledge of a tenant.

    The tenant is that of TENANTRY_API_KEY. Adding the same file twice changes nothing. A bucket's
    credentials, region and endpoint come from the usual AWS_… variables, and stay here.
    """
    client = Client.from_environment()
    sources = [file_source(place) for place in places]
    if watch:
        _watch(client, sources, alone=not (connector or no_wait or groups))
        return
    files = sorted((f for source in sources for f in source.files()), key=lambda f: f.source)
    connector_id = _connector(client, connector) if connector else ""
    done: list[dict[str, Any]] = []
    failed: list[str] = []
    with click.progressbar(files, label="ingesting", file=sys.stderr) as progress:
        for file in progress:
            try:
                done.append(_add(client, file, connector_id, groups, no_wait=no_wait))
            except (click.ClickException, OSError) as error:
                failed.append(f"{file.source}: {getattr(error, 'message', error)}")
    show_rows(done, as_json, () if as_json else ("file", "as", "id", "parts"))
    for line in failed:
        click.echo(f"Error: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _watch(client: Client, sources: list[FileSource], *, alone: bool) -> None:
    if not alone or len(sources) != 1 or not sources[0].is_whole:
        raise click.UsageError("--watch keeps one folder or bucket of documents in step.")
    FileSync(client, sources[0]).run()


@click.command()
@click.argument("query")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 100))
@json_option
def search(query: str, limit: int, as_json: bool) -> None:
    """Search the documents of the tenant of TENANTRY_API_KEY, without asking a model."""
    client = Client.from_environment()
    found = client.post("/v1/documents/search", {"query": query, "limit": limit})["data"]
    for passage in found:
        passage["place"] = passage["heading"] or f"page {passage['page']}"
        passage["score"] = round(passage["score"], 3)
    show_rows(found, as_json, () if as_json else ("score", "title", "place", "text"))


@click.command()
@click.argument("question")
@click.option("--assistant", default="analyst", show_default=True)
@click.option("--conversation", help="Go on with this conversation (its id).")
@json_option
def ask(question: str, assistant: str, conversation: str | None, as_json: bool) -> None:
    """Ask an assistant of the tenant of TENANTRY_API_KEY; the answer streams."""
    body: dict[str, Any] = {
        "model": assistant,
        "messages": [{"role": "user", "content": question}],
    }
    if conversation:
        body["conversation_id"] = conversation
    client = Client.from_environment()
    if as_json:
        print_json(client.post("/v1/chat/completions", body))
        return
    facts = asyncio.run(_stream(client, {**body, "stream": True}))
    click.echo()
    for citation in facts.get("citations", []):
        click.echo(f"  [{citation['ref']}] {citation['title']}: {citation['locator']}")
    for each in facts.get("attachments", []):
        click.echo(f"  [{each['ref']}] {each['title']}: {_attached(each)}")
    click.echo(
        f"  cost {usd(facts.get('cost_picousd', 0))}  conversation {facts.get('conversation_id')}"
    )


def _attached(attachment: dict[str, Any]) -> str:
    if attachment["kind"] == "file":
        return f"{attachment['rows']} rows, /v1/results/{attachment['result_id']}/content.csv"
    return f"a {attachment['kind']} of {attachment['rows']} rows (--json has its Vega-Lite)"


async def _stream(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    async for data in client.stream("/v1/chat/completions", body):
        if data == "[DONE]":
            break
        chunk = orjson.loads(data)
        if "error" in chunk:
            raise click.ClickException(str(chunk["error"]["message"]))
        for choice in chunk["choices"]:
            click.echo(choice["delta"].get("content", ""), nl=False)
        if "cost_picousd" in chunk.get("tenantry", {}):
            facts = chunk["tenantry"]
    return facts


def _connector(client: Client, name: str) -> str:
    for connector in client.every("/v1/connectors"):
        if connector["name"] == name:
            return str(connector["id"])
    return str(client.post("/v1/connectors", {"name": name, "kind": "files"})["id"])


def _add(
    client: Client, file: SourceFile, connector_id: str, groups: tuple[str, ...], *, no_wait: bool
) -> dict[str, Any]:
    name, content = Path(file.name), file.read()
    if connector_id and name.suffix.lower() in DATA_SUFFIXES:
        table = name.stem.lower().replace("-", "_").replace(" ", "_")
        path = f"/v1/connectors/{connector_id}/tables"
        added = client.upload(path, file.name, content, {"table": table})
        return {"file": file.source, "as": "table", "id": added["name"], "parts": added["rows"]}
    path = f"/v1/documents{'?wait=false' if no_wait else ''}"
    added = client.upload(path, file.name, content, {"groups": groups})
    if no_wait and added.get("object") == "job":
        return {"file": file.source, "as": "job", "id": added["id"], "parts": ""}
    document = when_done(client, added)
    parts = document["chunk_count"]
    return {"file": file.source, "as": "document", "id": document["id"], "parts": parts}
