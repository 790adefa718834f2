"""The summary at the end of the demo."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from broker.demo.ledger import Ledger
from broker.demo.payloads import CONTEXT_URL

Violations = list[dict[str, Any]]

_LABEL = 16
"""Columns of the labels."""

_CENTRE_OF_DRESDEN = "[13.7373,51.0504]"


def print_summary(
    console: Console, *, ledger: Ledger, updates: int, failures: Sequence[str], seconds: float, violations: str
) -> None:
    """Print what was acknowledged, how fast, what was owed and delivered, and what was wrong with the data."""
    p50, p95, p99, longest = (1000 * latency for latency in ledger.percentiles())
    rows = [
        ("Updates", f"{ledger.acknowledged:,} of {updates:,} acknowledged in {seconds:.1f} s"),
        ("Rate", f"{ledger.acknowledged / seconds:,.0f} updates/s" if seconds else "none"),
        ("Latency", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, longest {longest:.1f} ms"),
        ("Notifications", _notifications(ledger)),
        ("Data quality", violations),
    ]
    console.print()
    for title, text in rows:
        for index, line in enumerate(text.splitlines()):
            label = "" if index else title
            console.print(Text.assemble((label.ljust(_LABEL), "bold"), line), soft_wrap=True)
    for failure in failures:
        console.print(f"Refused: {failure}", soft_wrap=True, highlight=False, markup=False)


def print_commands(console: Console, url: str, entity_id: str, *, is_vela: bool) -> None:
    """Print three commands that show the result."""
    link = f'-H \'Link: <{CONTEXT_URL}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"\''
    api = f"{url}/ngsi-ld/v1"
    nearly_full = (
        f"curl -sG {api}/entities -d type=OffStreetParking --data-urlencode 'q=occupancy>0.9' -d options=keyValues"
    )
    near = (
        f"curl -sG {api}/entities -d type=OffStreetParking -d geometry=Point -d options=keyValues "
        f"--data-urlencode 'coordinates={_CENTRE_OF_DRESDEN}' --data-urlencode 'georel=near;maxDistance==500'"
    )
    commands = [
        ("Car parks that are nearly full", f"{nearly_full} {link}"),
        ("Car parks within 500 m of the Altmarkt in Dresden", f"{near} {link}"),
        ("What is wrong with the data, by attribute and rule", f"curl -s {url}/datamodels/violations")
        if is_vela
        else ("One car park", f"curl -s {api}/entities/{entity_id} {link}"),
    ]
    console.print()
    for title, command in commands:
        console.print(f"[bold]{title}[/bold]", highlight=False)
        console.print(f"  {command}", soft_wrap=True, highlight=False, markup=False)


def describe_violations(before: Violations | None, after: Violations | None, over_capacity: int) -> str:
    """What the broker says about the data of this run: the reports before and after it, None where it has none."""
    known = f"{over_capacity:,} readings report more free spaces than the car park has"
    if after is None:
        return f"{known}; this broker does not report violations of data models"
    earlier = {_rule(entry): entry["count"] for entry in before or []}
    grown = [(entry["count"] - earlier.get(_rule(entry), 0), entry) for entry in after]
    news = sorted(((count, entry) for count, entry in grown if count > 0), key=lambda pair: -pair[0])
    if not news:
        return f"{known}; this broker counted no violation of a data model"
    total = sum(count for count, _ in news)
    lines = [f"{total:,} schema violations ({known})"]
    for count, entry in news:
        sample = entry["sample"]
        lines.append(f"{entry['type']}.{entry['attribute']}: {count:,} times, for example in {sample['entity']}:")
        lines.append(f"    {sample['detail']}")
        lines.append(f"    {sample['schema']}")
    return "\n".join(lines)


def _notifications(ledger: Ledger) -> str:
    text = f"{len(ledger.owed):,} owed, {ledger.delivered:,} received"
    if ledger.missing:
        text += f", {len(ledger.missing):,} missing"
    text += f", {ledger.duplicates:,} duplicates"
    if ledger.unexpected:
        text += f", {ledger.unexpected:,} for updates that were not acknowledged"
    return text


def _rule(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["tenant"], entry["type"], entry["attribute"], entry["rule"], entry.get("source", "")
