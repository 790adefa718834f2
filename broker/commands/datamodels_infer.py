"""`vela datamodels infer`: a data model for a type that has none, from the entities that a broker has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
import orjson

from broker.commands.client import BrokerClient, context_link, fail
from broker.commands.datamodels_client import broker_option
from broker.commands.tables import as_text, counted
from broker.validation.inferring import Proposal, infer

_API = "/ngsi-ld/v1"
_PAGE = 500
_SAMPLE = 10_000
_NEXT = re.compile(r'<([^<>]+)>;\s*rel="next"')


@click.command("infer")
@click.argument("type_name", metavar="TYPE")
@click.option("--tenant", metavar="NAME", default="", help="The tenant whose entities are meant. [the default tenant]")
@click.option(
    "--context", "context_url", metavar="URL", help="The @context of the names. [the core @context; IRIs need none]"
)
@click.option(
    "--sample", metavar="NUMBER", type=click.IntRange(1), default=_SAMPLE, show_default=True,
    help="Look at so many entities at most.",
)  # fmt: skip
@click.option(
    "--out", "folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path),
    help="Write schema.json and context.jsonld into this folder of data models. [print them]",
)  # fmt: skip
@click.option("--subject", metavar="SUBJECT", default="", help="Its subject. [that of the IRI, else dataModel.Custom]")
@click.option("--strict", is_flag=True, help="Make rules of the ranges of numbers that were seen, rounded outwards.")
@broker_option
def infer_command(
    type_name: str,
    *,
    tenant: str,
    context_url: str | None,
    sample: int,
    folder: Path | None,
    subject: str,
    strict: bool,
    broker: str | None,
) -> None:
    """Propose a data model for TYPE from the entities that a running broker has.

    It reads them through the API, page by page, and says what all of them keep: types, formats, enumerations where few
    texts are repeated, units, which attributes are always there. It is a draft: read it, correct it, import it.
    """
    client = BrokerClient(broker, tenant)
    described = client.ask("GET", f"{_API}/types/{quote(type_name, safe='')}", headers=context_link(context_url))[1]
    names = {one["id"]: one["attributeName"] for one in described["attributeDetails"]}
    proposal = infer(
        described["typeName"],
        _entities(client, described["id"], sample),
        iri=described["id"],
        names=names,
        subject=subject,
        strict=strict,
    )
    if not proposal.entities:
        fail(f"There are no entities of the type {type_name} to look at.")
    if folder is None:
        click.echo(as_text({"schema.json": proposal.schema, "context.jsonld": proposal.context}))
        return
    for file in _written(proposal, folder):
        click.echo(file)
    seen = counted(proposal.entities, "entity", "entities")
    click.echo(f"Proposed from {seen}. Read and correct it, then: vela datamodels import {folder}", err=True)


def _entities(client: BrokerClient, iri: str, most: int) -> Iterator[dict[str, Any]]:
    """The entities of a type, normalised, with the names of the core @context."""
    path = f"{_API}/entities?{urlencode({'type': iri, 'limit': min(_PAGE, most)})}"
    given = 0
    while path:
        headers, page = client.ask("GET", path)
        yield from page[: most - given]
        given += len(page)
        following = _NEXT.search(", ".join(headers.get_all("Link") or ()))
        path = following[1] if following is not None and given < most else ""
        path = path[path.index(_API) :] if path else ""


def _written(proposal: Proposal, folder: Path) -> list[Path]:
    """The files that were written; a schema that exists is not overwritten, an @context gets the new terms."""
    if "/" in proposal.name or ":" in proposal.name or "/" in proposal.subject:
        fail(f"{proposal.subject}/{proposal.name} cannot be the name of a folder: give --context or --subject.")
    schema = folder / proposal.subject / proposal.name / "schema.json"
    context = folder / proposal.subject / "context.jsonld"
    if schema.exists():
        fail(f"{schema} exists: remove it first, or give another folder with --out.")
    terms = dict(proposal.context["@context"])
    if context.exists():
        terms = {**terms, **_terms_in(context)}
    schema.parent.mkdir(parents=True, exist_ok=True)
    context.write_text(as_text({"@context": terms}) + "\n", encoding="utf-8")
    schema.write_text(as_text(proposal.schema) + "\n", encoding="utf-8")
    return [schema, context]


def _terms_in(file: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(file.read_bytes())
    except ValueError:
        document = None
    terms = document.get("@context") if isinstance(document, dict) else None
    if not isinstance(terms, dict):
        fail(f'{file} exists, and is no @context that terms could be added to: expected an object in "@context".')
    return terms
