"""A provider's export by HTTP and by command line, also one that is said to be complete."""

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tenantry.cli.main import cli
from tests.service import Service
from tests.worlds import Cluster

UNCONFIRMED = """
UPDATE tenantry.usage_events SET confirmed = false, account = 'lost' WHERE operation = 'chat'
"""
HEAD = "call_id,input_tokens,output_tokens\n"


async def _reconcile(service: Service, *words: str) -> Result:
    env = {
        "TENANTRY_BASE_URL": service.base_url,
        "TENANTRY_OPERATOR_KEY": service.operator.credential,
    }
    run = partial(CliRunner().invoke, cli, ["usage", "reconcile", *words], env=env)
    return await asyncio.to_thread(run)


@pytest.mark.req("COST-3", "COST-5")
async def test_a_complete_export_takes_back_what_nobody_was_billed_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with Service.create(cluster, tmp_path) as service:
        assert (await service.acme.ask("What is there?")).status == 200
        with service.admin() as admin:  # as if the provider had given no figures
            admin.execute(UNCONFIRMED)
        export = tmp_path / "export.csv"
        export.write_text(HEAD)
        now = service.platform.clock.now()
        period = (
            "--since", (now - timedelta(hours=1)).isoformat(),
            "--until", (now + timedelta(hours=1)).isoformat(),
        )  # fmt: skip
        for words in (("--complete",), ("--account", "lost"), ("--complete", *period)):
            refused = await _reconcile(service, str(export), *words)
            assert (refused.exit_code, "all three" in refused.output) == (2, True)
        done = await _reconcile(service, str(export), "--complete", "--account", "lost", *period)
        assert done.exit_code == 0, done.output
        assert "corrected" in done.output
        totals = (await service.acme.get("/v1/usage?by=account")).body["totals"]
        assert totals["unconfirmed_calls"] == 0
        path = "/v1/operator/usage/reconcile"
        for query in ("?complete_for=lost", "?since=2026-01-01T00:00:00Z"):
            answer = await service.operator.call(
                "POST", path + query, data=HEAD.encode(), headers={"content-type": "text/csv"}
            )
            assert (answer.status, answer.body["code"]) == (400, "invalid_request")
