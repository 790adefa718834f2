"""`vela datamodels import` and `lint`: data models from elsewhere (docs/datamodels.md).

A source is read here, where the command runs; the broker gets definitions that need nothing beside themselves.
"""

import sys
from collections import Counter
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from broker.commands.client import fail
from broker.commands.datamodels_client import DataModelClient, broker_option, json_option
from broker.commands.tables import as_text, counted, show, table
from broker.validation.definitions import DataModelError, Definition

QUARANTINED = "quarantined"
_ORDER = ("imported", "unchanged", QUARANTINED)


def read_definitions(source: str, only: str | None) -> list[Definition]:
    """The data models of a source, the broken ones with their problem; ends the process where there are none."""
    from broker.validation.importing.reading import read_models  # takes a while to import
    from broker.validation.importing.sources import open_source

    try:
        opened = open_source(source, only)
        return read_models(opened.tree, source=opened.name, version=opened.version, only=opened.only)
    except DataModelError as error:
        fail(str(error))


@click.command("import")
@click.argument("source")
@click.option("--only", metavar="SELECTION", help="Only a SUBJECT, a TYPE, or SUBJECT/TYPE of the source.")
@json_option
@broker_option
def import_command(source: str, *, only: str | None, as_json: bool, broker: str | None) -> None:
    """Import data models into a running broker; exit with 1 if none of them can be used.

    SOURCE is a folder, an archive (.zip, .tar.gz), a git checkout, or the URL of an archive, a repository on GitHub or
    one schema: of the whole collection of Smart Data Models, of a subject or of one type. What cannot be used is put
    in quarantine: it is listed with the reason, and checks nothing. All else takes effect within a second.
    """
    definitions = read_definitions(source, only)
    client = DataModelClient(broker)
    results: list[dict[str, Any]] = []
    with _progress() as progress:
        task = progress.add_task("Importing", total=len(definitions))
        for batch in client.add([definition.document() for definition in definitions]):
            results += batch
            progress.update(task, completed=len(results))
    subjects = {definition.iri: definition.subject for definition in definitions}
    if as_json:
        click.echo(as_text(results))
    else:
        _show(results, subjects)
    sys.exit(1 if all(one["status"] == QUARANTINED for one in results) else 0)


@click.command("lint")
@click.argument("source")
@click.option("--only", metavar="SELECTION", help="Only a SUBJECT, a TYPE, or SUBJECT/TYPE of the source.")
@json_option
def lint_command(source: str, *, only: str | None, as_json: bool) -> None:
    """Say what is wrong or doubtful in the data models of SOURCE; exit with 1 if one of them cannot be used.

    SOURCE is what `vela datamodels import` takes. No broker is needed, and nothing is changed. Errors keep a model from
    being used; warnings tell what other tools may stumble over.
    """
    from broker.validation.importing.linting import Level, lint
    from broker.validation.importing.sources import open_source

    try:
        opened = open_source(source, only)
        findings = lint(opened.tree, only=opened.only)
    except DataModelError as error:
        fail(str(error))
    errors = sum(one.level is Level.ERROR for one in findings)
    if as_json:
        click.echo(as_text([one._asdict() for one in findings]))
    else:
        found = table("Level", "Place", "Finding")
        for one in findings:
            found.add_row(one.level, one.place, one.message)
        show(found)
        warnings = counted(len(findings) - errors, "warning", "warnings")
        click.echo(f"\n{counted(errors, 'error', 'errors')}, {warnings}.")
    sys.exit(1 if errors else 0)


def _show(results: list[dict[str, Any]], subjects: dict[str, str]) -> None:
    """The results as a table; what needs a look comes last."""
    shown = table("Type", "Subject", "Status", "Reason")
    for one in sorted(results, key=lambda one: _ORDER.index(one["status"])):
        shown.add_row(one["name"], subjects.get(one["iri"], ""), one["status"], one.get("problem", ""))
    show(shown)
    numbers = Counter(one["status"] for one in results)
    parts = ", ".join(f"{numbers[status]:,} {status}" for status in _ORDER)
    click.echo(f"\n{counted(len(results), 'data model', 'data models')}: {parts}.")


def _progress() -> Progress:
    """A bar on standard error, for people."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
