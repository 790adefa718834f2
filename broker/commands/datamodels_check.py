"""`vela datamodels check`: files of entities against data models, with or without a broker (docs/datamodels.md)."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from broker.bundled import bundled
from broker.commands.client import fail
from broker.commands.datamodels_checking import FileChecker, Finding, read_context
from broker.commands.datamodels_import import read_definitions
from broker.commands.datamodels_models import KnownModels, local_models, models_of_broker, the_one
from broker.commands.dumps import STANDARD_INPUT, UnreadableFile, read_entities, size_of
from broker.commands.tables import counted, show, table
from broker.ngsild.errors import NgsiLdError
from broker.settings import Settings

_SHOWN_AT_FIRST = 100
_LISTED_TYPES = 20


class _Report:
    """What was found in all files.

    The first `limit` violations are shown at the end, beneath the progress bar; without a limit all of them, at once.
    Advice is only counted, unless programs read the output.
    """

    def __init__(self, *, limit: int | None, as_json: bool, name_files: bool) -> None:
        self._limit = limit
        self._as_json = as_json
        self._name_files = name_files
        self._counts: dict[tuple[str, str, str, bool], tuple[int, str]] = {}
        self._bad_entities = 0
        self._lines: list[str] = []
        self.violations = 0
        self.advice = 0
        self.unreadable_files = 0

    def add(self, file: str, line: int, findings: Sequence[Finding]) -> None:
        """Take note of all that was found in one entity, which begins in `line` of `file`."""
        self._bad_entities += any(not finding.violation.advisory for finding in findings)
        for finding in findings:
            violation = finding.violation
            key = (finding.type, violation.attribute, violation.rule, violation.advisory)
            number, first = self._counts.get(key, (0, finding.entity))
            self._counts[key] = number + 1, first
            if self._as_json or (self._limit is None and not violation.advisory):
                click.echo(self._line(file, line, finding))
            elif self._limit is not None and len(self._lines) < self._limit and not violation.advisory:
                self._lines.append(self._line(file, line, finding))
            self.violations += not violation.advisory
            self.advice += violation.advisory

    def fault(self, file: str, reason: str) -> None:
        """Say that a file cannot be read, or not to its end."""
        self.unreadable_files += 1
        click.echo(f"vela: {file}: {reason}.", err=True)

    def summary(self, checker: FileChecker, models: KnownModels, files: int) -> None:
        """Print how often each rule was broken, and what was not checked."""
        notes = checker.notes
        for shown in self._lines:
            click.echo(shown)
        hidden = self.violations - len(self._lines)
        if self._limit is not None and hidden:
            click.echo(f"… and {hidden:,} more: --limit 0 shows all.")
        if self._counts:
            counts = table("Type", "Attribute", "Rule", "Count", "First entity", numbers=("Count",))
            for (type_name, attribute, rule, advisory), (number, first) in sorted(
                self._counts.items(), key=lambda entry: -entry[1][0]
            ):
                counts.add_row(type_name, attribute, f"{rule} (advice)" if advisory else rule, f"{number:,}", first)
            click.echo()
            show(counts)
            click.echo()
        for name, reason in sorted(models.problems.items()):
            click.echo(f"The data model {name} cannot be used: {reason}")
        if notes.unchecked:
            click.echo(f"Without a data model, and not checked: {_listed(notes.unchecked)}.")
        for source, number in notes.contexts.most_common(_LISTED_TYPES):
            verb = "names" if number == 1 else "name"
            what = f"{verb} the @context {source}, which is not known here" if source else f"{verb} no @context"
            click.echo(
                f"{counted(number, 'entity', 'entities')} {what}: read with the names that the data model of the type "
                "has. --context gives others."
            )
        advice = f" {counted(self.advice, 'piece of advice', 'pieces of advice')}." if self.advice else ""
        click.echo(
            f"{counted(notes.entities, 'entity', 'entities')} in {counted(files, 'file', 'files')}: "
            f"{counted(self.violations, 'violation', 'violations')} in {self._bad_entities:,} of them.{advice}"
        )

    def _line(self, file: str, line: int, finding: Finding) -> str:
        violation = finding.violation
        if self._as_json:
            where = {"file": file, "line": line, "entity": finding.entity, "type": finding.type}
            rule = {"attribute": violation.attribute, "rule": violation.rule, "advisory": violation.advisory}
            return json.dumps({**where, **rule, **violation.problem()}, ensure_ascii=False)
        place = violation.pointer or "/"
        if violation.dataset is not None:
            place += f" (datasetId {violation.dataset})"
        said = f"is {violation.found}; expected {violation.expected}" if violation.schema else violation.expected
        schema = f"  [{violation.schema}]" if violation.schema else ""
        words = f". {violation.message}" if violation.message else ""
        start = f"{file}:{line}: " if self._name_files else f"line {line}: "
        return f"{start}{finding.entity}  {place} {said}{words}{schema}"


@click.command("check")
@click.argument(
    "files", metavar="FILE…", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--broker", metavar="URL", help="Check against the data models that this broker has now.")
@click.option("--models", "folder", metavar="SOURCE", help="Check against the data models of a folder or an archive.")
@click.option("--type", "type_name", metavar="TYPE", help="Check all entities against this data model.")
@click.option(
    "--context", "context_file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The @context of entities that name none, or one that is not known here.",
)  # fmt: skip
@click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(0), default=_SHOWN_AT_FIRST, show_default=True,
    help="Show so many violations one by one; 0: all.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print each violation as a JSON object in a line, nothing else.")
def check_command(
    files: tuple[str, ...],
    *,
    broker: str | None,
    folder: str | None,
    type_name: str | None,
    context_file: Path | None,
    limit: int,
    as_json: bool,
) -> None:
    """Check the entities in files against data models; exit with 1 if any of them breaks a rule.

    FILE holds an entity, an array of entities, or JSON Lines, normalised, concise or simplified, and may be compressed
    with gzip; - reads standard input. Without --broker and --models the data models that come with Vela are used, and
    no network. For each violation it shows the entity, the JSON pointer of the member, what was found, what is
    expected, and where the schema says so.
    """
    if broker is not None and folder is not None:
        raise click.UsageError("--broker and --models exclude each other: which data models are meant?")
    models = _models(broker, folder)
    at_once = as_json or not limit
    report = _Report(limit=None if at_once else limit, as_json=as_json, name_files=len(files) > 1)
    try:
        checker = FileChecker(
            models,
            _context_folders(),
            context=None if context_file is None else read_context(context_file),
            type_iri=None if type_name is None else the_one(models, type_name).iri,
        )
    except NgsiLdError as error:
        fail(error.detail)
    if type_name is not None and models.problems:
        fail(f"The data model {type_name} cannot be used: {'; '.join(models.problems.values())}")
    with _progress(hidden=at_once and sys.stdout.isatty()) as progress:
        for file in files:
            name = "standard input" if file == STANDARD_INPUT else file
            task = progress.add_task(Path(name).name, total=size_of(file) or None)
            try:
                for line, document in read_entities(file, partial(_advance, progress, task)):
                    findings = checker.check(document)
                    if findings:
                        report.add(name, line, findings)
            except UnreadableFile as error:
                report.fault(name, str(error))
    if not as_json:
        report.summary(checker, models, len(files))
    sys.exit(1 if report.violations or report.unreadable_files else 0)


def _models(broker: str | None, folder: str | None) -> KnownModels:
    zone_tolerant = Settings.load().validation_zoneless
    if broker is not None:
        return models_of_broker(broker, zone_tolerant=zone_tolerant)
    definitions = read_definitions(str(bundled("datamodels")) if folder is None else folder, None)
    return local_models(definitions, zone_tolerant=zone_tolerant)


def _context_folders() -> list[Path]:
    own = Settings.load().contexts_dir
    return [*([own] if own is not None else []), bundled("datamodels")]


def _progress(*, hidden: bool) -> Progress:
    """A bar on standard error, for people; standard output stays as it is."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(
        *columns, console=console, transient=True, disable=hidden or not console.is_terminal,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip


def _advance(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


def _listed(unchecked: Counter[str]) -> str:
    shown = [f"{name} ({number:,})" for name, number in unchecked.most_common(_LISTED_TYPES)]
    more = len(unchecked) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more types" if more > 0 else "")
