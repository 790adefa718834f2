"""The published models, imported into a running broker that enforces them, with the published examples as clients.

Skipped where they are not at hand: VELA_SHARED_DATA names the folder that holds smart-data-models/.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import orjson
import pytest

from tests.conftest import RunningBroker
from tests.integration.api import ENTITIES, JSON_LD, set_policy
from tests.integration.test_data_models import FORBIDDEN, model_of
from tests.unit.validation.importing.published import Example, examples, imported, oracle, published_models

CONTEXT = "https://smart-data-models.github.io/{}/context.jsonld"
NORMALIZED = "example-normalized.jsonld"
PER_REQUEST = 25

Count = Callable[[str], None]


@pytest.fixture(scope="module")
def broker_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The @contexts of the subjects, as at a site without internet."""
    folder = tmp_path_factory.mktemp("contexts")
    index = {CONTEXT.format(subject.name): str(subject / "context.jsonld") for subject in subjects()}
    (folder / "index.json").write_text(json.dumps(index))
    return {"contexts_dir": folder}


def subjects() -> list[Any]:
    return sorted(published_models().glob("dataModel.*"))


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Count:
    """Prints lines of the result, whatever pytest captures."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            request.config.get_terminal_writer().line(f"\n{line}")

    return write


async def import_all(client: aiohttp.ClientSession) -> list[dict[str, Any]]:
    definitions = [definition.document() for definition in imported().values()]
    results: list[dict[str, Any]] = []
    for start in range(0, len(definitions), PER_REQUEST):
        body = orjson.dumps({"definitions": definitions[start : start + PER_REQUEST]})
        headers = {"Content-Type": "application/json"}
        async with client.post("/datamodels/models", data=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            results.extend(await response.json())
    return results


async def test_every_published_model_is_imported_and_enforced_on_the_published_entities(
    broker: RunningBroker, tenant: str, count: Count
) -> None:
    results = await import_all(broker.client)
    assert {result["iri"]: result["status"] for result in results} == {
        definition.iri: "quarantined" if definition.problem else "imported" for definition in imported().values()
    }
    for definition in imported().values():
        await set_policy(broker.client, definition.iri, "enforce", tenant)

    accepted, by_jsonschema, refused, foreign = 0, 0, [], {}
    for example in examples(NORMALIZED):
        expected = all(oracle(example.model).is_valid(document) for document in converted(example.document))
        by_jsonschema += expected
        status, problem = await create(broker.client, tenant, example)
        violations = [error for error in problem.get("errors", []) if "schema" in error]
        if status == 400 and not violations:
            foreign[model_of(example.file)] = f"{example.model}: {problem['detail']}"
            continue
        assert (status == 201) == expected, (example.file, problem)
        if status == 201:
            accepted += 1
        else:
            refused.append(f"{example.model}: {violations[0]['pointer']}: {violations[0]['detail']}")
    summary = (
        f"{NORMALIZED}: {len(examples(NORMALIZED))}, of which jsonschema accepts {by_jsonschema} when simplified; "
        f"{accepted} accepted under enforce, {len(refused)} refused for their model, and by jsonschema, too; "
        f"{len(foreign)} are no NGSI-LD, whatever their models say:"
    )
    count("\n  ".join([summary, *refused, *foreign.values()]))
    assert foreign.keys() == FORBIDDEN[NORMALIZED].keys()


async def create(client: aiohttp.ClientSession, tenant: str, example: Example) -> tuple[int, dict[str, Any]]:
    """Create the entity of an example with the @context of its subject, and delete it again; status and problem."""
    entity = {**example.document, "@context": CONTEXT.format(example.model.partition("/")[0])}
    headers = {"Content-Type": JSON_LD, "NGSILD-Tenant": tenant}
    async with client.post(ENTITIES, data=json.dumps(entity), headers=headers) as response:
        body = await response.read()
        if response.status != 201:
            return response.status, orjson.loads(body)
        location = response.headers["Location"]
    async with client.delete(location, headers={"NGSILD-Tenant": tenant}) as response:
        assert response.status == 204, await response.text()  # two models have examples of the same id
    return 201, {}


def converted(entity: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The key-values forms of a normalized entity: one, and one more for each further text of a language."""
    document: dict[str, Any] = {}
    further: list[tuple[str, Any]] = []
    for name, member in entity.items():
        if name in ("id", "type"):
            document[name] = member
        elif name != "@context":
            first, *others = values(member)
            document[name] = first
            further.extend((name, value) for value in others)
    yield document
    for name, value in further:
        yield {**document, name: value}


def values(attribute: Any) -> list[Any]:
    if not isinstance(attribute, dict):
        return [attribute]
    match attribute:
        case {"languageMap": texts}:
            return list(texts.values())
        case {"object": target}:
            return [target]
        case {"value": value}:
            return [unwrapped(value)]
        case _:
            return [attribute]


def unwrapped(value: Any) -> Any:
    """A value with the plain values in the place of JSON-LD's typed ones."""
    if isinstance(value, dict):
        if "@value" in value:
            return value["@value"]
        return {name: unwrapped(member) for name, member in value.items()}
    return [unwrapped(item) for item in value] if isinstance(value, list) else value
