"""The data models that `vela datamodels check` knows: those that come with Vela, of a folder, or of a broker."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from broker.commands.client import fail
from broker.commands.datamodels_client import DataModelClient
from broker.jsonld.context import Context
from broker.jsonld.processing import Part, combined_terms
from broker.ngsild.errors import BadRequestData
from broker.validation.compiling import compile_definition
from broker.validation.definitions import DataModelError, Definition, read_definition
from broker.validation.models import Model


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What can be known of a data model without its schema; `problem` says why it cannot be used, "" where it can."""

    iri: str
    name: str
    subject: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class UsableModel:
    """A compiled data model, and the @context of its own names."""

    model: Model
    context: Context


class KnownModels:
    """Data models, each compiled when it is used first.

    `load` returns the definition of an IRI that is among `known`. `problems` collects the names of those that were
    asked for and cannot be used, with the reasons.
    """

    def __init__(
        self, known: Iterable[KnownModel], load: Callable[[str], Definition], *, zone_tolerant: bool = False
    ) -> None:
        self._known = {one.iri: one for one in known}
        self._load = load
        self._zone_tolerant = zone_tolerant
        self._usable: dict[str, UsableModel | None] = {}
        self.problems: dict[str, str] = {}

    def get(self, iri: str) -> UsableModel | None:
        """The data model of a type by its IRI; None where there is none, or it cannot be used."""
        if iri not in self._usable:
            known = self._known.get(iri)
            self._usable[iri] = None if known is None else self._compiled(known)
        return self._usable[iri]

    def named(self, name: str, subject: str = "") -> list[KnownModel]:
        """The data models of a type by its name, of a subject ("": of any); an IRI is found, too."""
        if name in self._known:
            return [self._known[name]]
        return [one for one in self._known.values() if one.name == name and subject in ("", one.subject)]

    def _compiled(self, known: KnownModel) -> UsableModel | None:
        try:
            if known.problem:
                raise DataModelError(known.problem)
            definition = self._load(known.iri)
            context = Context(combined_terms([Part(definition.terms, known.iri)]), known.iri, None)
            return UsableModel(compile_definition(definition, zone_tolerant=self._zone_tolerant), context)
        except (DataModelError, BadRequestData) as error:
            self.problems[known.name] = str(error)
            return None


def local_models(definitions: Iterable[Definition], *, zone_tolerant: bool = False) -> KnownModels:
    """Data models that lie here."""
    by_iri = {one.iri: one for one in definitions}
    known = [KnownModel(one.iri, one.name, one.subject, one.problem) for one in by_iri.values()]
    return KnownModels(known, by_iri.__getitem__, zone_tolerant=zone_tolerant)


def models_of_broker(url: str, *, zone_tolerant: bool = False) -> KnownModels:
    """The data models that the broker at `url` has now; their definitions are asked for one by one, as needed."""
    client = DataModelClient(url)
    known = [
        KnownModel(one["iri"], one["name"], one.get("subject", ""), one.get("problem", "")) for one in client.models()
    ]

    def load(iri: str) -> Definition:
        return read_definition(client.model(iri)["definition"])

    return KnownModels(known, load, zone_tolerant=zone_tolerant)


def the_one(models: KnownModels, name: str) -> KnownModel:
    """The data model that a person means by `name`; what is none, or not one alone, is said, and ends the process."""
    subject, _, short = name.rpartition("/") if "://" not in name else ("", "", name)
    found = models.named(short, subject)
    if not found:
        fail(f"There is no data model for the type {name}: `vela datamodels list` shows those that there are.")
    if len(found) > 1:
        choices = ", ".join(sorted(f"{one.subject}/{one.name}" for one in found))
        fail(f"There are {len(found)} data models for the type {name}: give one of {choices}.")
    return found[0]
