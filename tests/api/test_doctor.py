"""`tenantry doctor` says what it looked at, and how to mend what it found."""

from pathlib import Path

import pytest

from tenantry.cli.doctor import examine
from tenantry.core.settings import Settings
from tests.worlds import Cluster, World

pytestmark = pytest.mark.req("USE-3")


def _settings(cluster: Cluster, world: World, folder: Path) -> Settings:
    return Settings(
        data_dir=folder,
        database_url=cluster.admin_url(world.database),
        secrets_file=cluster.secrets_path,
    )


async def test_a_new_installation_lacks_an_operator_and_nothing_else(
    cluster: Cluster, world: World, tmp_path: Path
) -> None:
    findings = {f.check: f for f in await examine(_settings(cluster, world, tmp_path))}
    assert [f.check for f in findings.values() if not f.ok] == ["operators"]
    assert "tenantry operator-key create" in findings["operators"].detail
    assert "no function" in findings["shared surfaces"].detail
    assert "whole" in findings["audit log"].detail


async def test_what_tenants_could_see_of_other_sessions_is_listed(
    cluster: Cluster, world: World, tmp_path: Path
) -> None:
    with world.admin() as admin:
        admin.execute("GRANT EXECUTE ON FUNCTION pg_terminate_backend TO PUBLIC")
    findings = {f.check: f for f in await examine(_settings(cluster, world, tmp_path))}
    assert "pg_terminate_backend(integer,bigint)" in findings["shared surfaces"].detail
    assert "REVOKE" in findings["shared surfaces"].detail


async def test_a_database_that_is_away_is_one_finding(tmp_path: Path) -> None:
    away = Settings(
        data_dir=tmp_path, database_url="postgresql://nobody@127.0.0.1:9/none",
        secrets_file=tmp_path / "none.json",
    )  # fmt: skip
    *_, last = await examine(away)
    assert (last.check, last.ok) == ("start", False)
