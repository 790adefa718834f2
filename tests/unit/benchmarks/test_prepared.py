import orjson
import pytest

from benchmarks.population import INITIAL_VALUE, Population
from benchmarks.prepared import choose_entities, prepare
from benchmarks.scenarios import SCENARIOS, Scenario

POPULATION = Population("test", 200)
SEQUENCE = INITIAL_VALUE + 7


def request(scenario: Scenario, number: int) -> tuple[str, bytes]:
    parts = prepare(scenario.operation, POPULATION, "127.0.0.1:1026")[number]
    head, _, body = (b"%d" % SEQUENCE).join(parts).partition(b"\r\n\r\n")
    return head.decode(), body


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    chosen: Scenario = request.param
    return chosen


def test_a_request_has_a_path_without_placeholders_and_says_its_length(scenario: Scenario) -> None:
    head, body = request(scenario, 3)
    assert head.startswith(f"{scenario.operation.method} /ngsi-ld/v1/")
    assert "{" not in head
    assert "\r\nHost: 127.0.0.1:1026\r\n" in head
    if scenario.operation.body == "none":
        assert body == b""
    else:
        assert f"\r\nContent-Length: {len(body)}" in head


def test_what_a_request_changes_is_its_sequence_number(scenario: Scenario) -> None:
    operation = scenario.operation
    if operation.body == "none":
        return
    content = orjson.loads(request(scenario, 3)[1])
    for changed in content if isinstance(content, list) else [content]:
        assert {changed[name]["value"] for name in operation.changes} == {SEQUENCE}


def test_a_batch_names_the_entities_that_were_chosen_for_it() -> None:
    batch = next(scenario for scenario in SCENARIOS if scenario.operation.body == "entities")
    chosen = choose_entities(batch.operation, POPULATION.size)[3]
    assert len(set(chosen)) == batch.operation.entities
    content = orjson.loads(request(batch, 3)[1])
    assert [entity["id"] for entity in content] == [POPULATION.entity_id(index) for index in chosen]


def test_a_patch_addresses_the_entity_that_was_chosen_for_it() -> None:
    patch = next(scenario for scenario in SCENARIOS if scenario.operation.body == "attributes")
    (index,) = choose_entities(patch.operation, POPULATION.size)[3]
    assert f"/entities/{POPULATION.entity_id(index)}/attrs " in request(patch, 3)[0]


def test_every_creation_creates_another_entity() -> None:
    create = next(scenario for scenario in SCENARIOS if scenario.operation.body == "new entity")
    assert orjson.loads(request(create, 3)[1])["id"] == POPULATION.new_entity_id(SEQUENCE)


def test_pages_are_asked_for_in_turn() -> None:
    paged = next(scenario for scenario in SCENARIOS if scenario.operation.pages)
    pages = ["/ngsi-ld/v1/entities?limit=20", "/ngsi-ld/v1/entities?limit=20&cursor=1.a_b"]
    requests = [b"".join(parts) for parts in prepare(paged.operation, POPULATION, "127.0.0.1:1026", pages)]
    assert [text.split()[1].decode() for text in requests] == pages
    assert all(text.startswith(b"GET ") and text.endswith(b"\r\n\r\n") for text in requests)


def test_a_batch_larger_than_the_population_is_refused() -> None:
    batch = next(scenario for scenario in SCENARIOS if scenario.operation.body == "entities")
    with pytest.raises(ValueError, match="larger than population"):
        choose_entities(batch.operation, batch.operation.entities - 1)
