"""The show: load two tenants, ask both the same, try to break in, and count what went wrong."""

import sys
from collections.abc import Callable, Sequence

import aiohttp
import click

from tenantry.demo import report
from tenantry.demo.attacks import Attack, Stage, attacks
from tenantry.demo.client import Client, accepted
from tenantry.demo.evidence import manifests, recorded
from tenantry.demo.interview import Answer, ask
from tenantry.demo.provision import Place, provision, steps
from tenantry.demo.script import ASSISTANT, QUESTIONS, TENANTS, DemoQuestion, DemoTenant

Out = Callable[[str], None]
_TIMEOUT = aiohttp.ClientTimeout(total=300, sock_connect=10)
_KEY_NAME = "demo"


async def run_demo(base_url: str, operator_key: str, *, serve: bool, out: Out) -> int:
    """Run the whole show against a server, over HTTP only.

    Args:
        base_url: of a running server.
        operator_key: with every operator scope.
        serve: whether the server stays: then, if all is well, keys are made and shown.
        out: takes each piece of text for people.

    Returns:
        0 if every answer was right, no attack got through and the audit log is whole; else 1.

    Raises:
        TenantryError: the server refused something that it must allow, or is away.
        StartupRefused: a package that ships the data is not installed.
    """
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        operator = Client(session, base_url.rstrip("/"), operator_key)
        out(report.heading("Two tenants on one platform"))
        places = [await _load(operator, tenant, out) for tenant in TENANTS]
        out(report.heading("The same questions, asked of both"))
        wrong = sum([await _ask_all(question, places, out) for question in QUESTIONS])
        wrong += await _check_prompts(operator, places, out)
        out(report.heading("Attacks, each made over HTTP with valid credentials of a tenant"))
        through = await _attack(Stage(operator, places[0], places[1]), out)
        out(report.heading("The books"))
        wrong += await _check_usage(operator, places, out)
        wrong += await _check_audit(operator, out)
        asked = len(QUESTIONS) * len(places)
        out(
            f"\n{asked} answers and the books: {wrong or 'no'} fault{'' if wrong == 1 else 's'}. "
            f"Attacks: {through or 'none'} got through."
        )
        is_good = wrong == through == 0
        if serve and is_good:
            await _hand_over(places, out)
    return 0 if is_good else 1


async def _load(operator: Client, tenant: DemoTenant, out: Out) -> Place:
    label = f"Loading {tenant.title}"
    # On a terminal a bar; elsewhere nothing, so that logs stay readable.
    hidden = not sys.stderr.isatty()
    with click.progressbar(
        length=steps(tenant), label=label, file=sys.stderr, hidden=hidden, width=0
    ) as bar:
        place = await provision(operator, tenant, lambda _name: bar.update(1))
    news = f"{place.added} added" if place.added else "all there from before"
    out(
        f"{tenant.title}: {place.tables} tables, {place.documents} documents, "
        f"{place.queries} verified queries ({news})."
    )
    return place


async def _ask_all(question: DemoQuestion, places: Sequence[Place], out: Out) -> int:
    answers = [await ask(place.analyst, question.text) for place in places]
    faults = [
        question.faults(place.tenant.name, answer.text, answer.cited)
        for place, answer in zip(places, answers, strict=True)
    ]
    out(f"“{question.text}”\n")
    rows = [
        ("answer", *map(report.answer_text, answers)),
        ("sources", *map(report.sources_text, answers)),
        ("cost", *(report.usd(answer.cost_picousd) for answer in answers)),
        ("verdict", *("; ".join(found) or "right" for found in faults)),
    ]
    out(report.side_by_side([place.tenant.title for place in places], rows) + "\n")
    return sum(map(bool, faults))


async def _check_prompts(operator: Client, places: Sequence[Place], out: Out) -> int:
    """Ask once more, and read in the audit log whose text the model was shown."""
    foreign = 0
    for place in places:
        answer: Answer = await ask(place.analyst, QUESTIONS[0].text)
        proof = manifests(await recorded(operator, place, {answer.request_id}), place)
        foreign += proof.foreign + (proof.prompts == 0)
        out(
            f"{place.tenant.title}: the audit log lists {proof.segments} segments in "
            f"{proof.prompts} prompts of one answer, {proof.foreign} of them another tenant's."
        )
    return foreign


async def _attack(stage: Stage, out: Out) -> int:
    models = frozenset(m["id"] for m in (await stage.attacker.admin.get("/v1/models"))["data"])
    attacker, victim = stage.attacker.tenant.title, stage.victim.tenant.title
    out(f"{attacker} tries to reach {victim}.\n")
    rows, through = [], 0
    for attack in attacks(models):
        row, got_through = await _one_attack(stage, attack)
        rows.append(row)
        through += got_through
    headers = ("attack", "answer", "audit log", "verdict")
    out(report.table(headers, rows, {0: 30, 1: 24, 2: 30, 3: 40}))
    return through


async def _one_attack(stage: Stage, attack: Attack) -> tuple[Sequence[str], bool]:
    attempt = await attack.run(stage)
    events = await recorded(stage.operator, stage.attacker, attempt.requests)
    faults = list(attempt.faults)
    missing = attack.evidence - {event["action"] for event in events}
    faults += [f"{action} is not in the audit log" for action in sorted(missing)]
    if manifests(events, stage.attacker).foreign:
        faults.append("a model was shown another tenant's text")
    shown = {e["action"]: f"#{e['seq']} {e['action']}" for e in events}
    told = [text for action, text in shown.items() if action in attack.evidence]
    row = (attack.name, attempt.answer, "\n".join(told) or "-", "; ".join(faults) or "blocked")
    return row, bool(faults)


async def _check_usage(operator: Client, places: Sequence[Place], out: Out) -> int:
    """Compare what each tenant is told it cost with what the operator is told."""
    listed = {t["tenant_id"]: t for t in (await operator.get("/v1/operator/usage"))["data"]}
    rows, wrong = [], 0
    for place in places:
        own = (await place.admin.get("/v1/usage"))["totals"]
        theirs = listed.get(place.tenant_id, {})
        agrees = own["cost_picousd"] == theirs.get("cost_picousd")
        wrong += not agrees
        tokens = own["input_tokens"] + own["output_tokens"]
        figures = (f"{own['calls']:,}", f"{tokens:,}", report.usd(own["cost_picousd"]))
        rows.append((place.tenant.title, *figures, "same" if agrees else "DIFFERS"))
    headers = ("usage in the last 30 days", "calls", "tokens", "cost", "operator's figures")
    out(report.table(headers, rows, {}))
    return wrong


async def _check_audit(operator: Client, out: Out) -> int:
    found = await operator.post("/v1/operator/audit/verify", {})
    state = "whole" if found["whole"] else f"BROKEN: {found['defects']}"
    out(f"\nAudit log: {found['events']:,} events in {found['chains']} chains, {state}.")
    return 0 if found["whole"] else 1


async def _hand_over(places: Sequence[Place], out: Out) -> None:
    """Make a fresh key for each tenant and say how to use it; the keys of earlier shows end."""
    out(report.heading("Try it yourself, with any OpenAI client"))
    base_url = places[0].admin.base_url
    out(f"  export OPENAI_BASE_URL={base_url}/v1")
    for place in places:
        for old in await place.admin.list("/v1/keys"):
            if old["name"] == _KEY_NAME and old["revoked_at"] is None:
                reply = await place.admin.call("DELETE", f"/v1/keys/{old['id']}")
                accepted(reply, "Revoking the key of an earlier show")
        key = await place.admin.post("/v1/keys", {"name": _KEY_NAME})
        out(f"  export OPENAI_API_KEY={key['api_key']}   # {place.tenant.title}")
    out(
        '\n  curl -s "$OPENAI_BASE_URL/chat/completions" \\\n'
        '    -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" \\\n'
        f'    -d \'{{"model": "{ASSISTANT}", "messages": [{{"role": "user", "content": '
        f'"{QUESTIONS[0].text}"}}]}}\''
    )
