from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from benchmarks.population import INITIAL_VALUE, Population
from benchmarks.prepared import choose_entities, prepare, written_entities
from benchmarks.scenarios import HOT, PATCH2, SCENARIOS, Scenario
from broker.ngsild.query.geo import parse_geo
from broker.ngsild.query.grammar import parse_q

POPULATION = Population("test", 1_000)
SEED = INITIAL_VALUE + 1
SEQUENCE = INITIAL_VALUE + 7


def request(scenario: Scenario, number: int) -> tuple[str, bytes]:
    parts = prepare(scenario.operation, POPULATION, "127.0.0.1:1026", SEED)[number]
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
    if operation.body == "attribute":
        content = {operation.changes[0]: content}
    for changed in content if isinstance(content, list) else [content]:
        assert {changed[name]["value"] for name in operation.changes} == {SEQUENCE}


def test_a_batch_names_the_entities_that_were_chosen_for_it() -> None:
    batch = next(scenario for scenario in SCENARIOS if scenario.operation.body == "entities")
    chosen = choose_entities(batch.operation, POPULATION.size, SEED)[3]
    assert len(set(chosen)) == batch.operation.entities
    content = orjson.loads(request(batch, 3)[1])
    assert [entity["id"] for entity in content] == [POPULATION.entity_id(index) for index in chosen]


def test_a_patch_addresses_the_entity_that_was_chosen_for_it() -> None:
    patch = next(scenario for scenario in SCENARIOS if scenario.operation.body == "attributes")
    (index,) = choose_entities(patch.operation, POPULATION.size, SEED)[3]
    assert f"/entities/{POPULATION.entity_id(index)}/attrs " in request(patch, 3)[0]


def test_each_load_chooses_anew_and_the_same_when_it_is_read_back() -> None:
    assert choose_entities(PATCH2, 1_000, 1) == choose_entities(PATCH2, 1_000, 1) != choose_entities(PATCH2, 1_000, 2)


def test_all_clients_of_the_hot_entity_name_the_same_one() -> None:
    assert set(choose_entities(HOT, POPULATION.size, SEED)) == {(0,)}


def test_a_tenth_of_the_mixed_load_reads_by_id_and_writes_nothing() -> None:
    mixed = next(scenario for scenario in SCENARIOS if scenario.operation.read_every)
    written = written_entities(mixed.operation, POPULATION.size, SEED)
    requests = prepare(mixed.operation, POPULATION, "127.0.0.1:1026", SEED)
    assert [b"".join(one).startswith(b"GET ") for one in requests] == [not entities for entities in written]
    assert written.count(()) * 10 == len(written)


def test_every_query_is_one_that_a_broker_reads() -> None:
    query = next(scenario for scenario in SCENARIOS if scenario.name == "query")
    target = request(query, 3)[0].split()[1]
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
    parse_q(parameters["q"])
    parse_geo(parameters["georel"], parameters["geometry"], parameters["coordinates"], "location")


def test_every_creation_creates_another_entity() -> None:
    create = next(scenario for scenario in SCENARIOS if scenario.operation.body == "new entity")
    assert orjson.loads(request(create, 3)[1])["id"] == POPULATION.new_entity_id(SEQUENCE)


def test_pages_are_asked_for_in_turn() -> None:
    paged = next(scenario for scenario in SCENARIOS if scenario.operation.pages)
    pages = ["/ngsi-ld/v1/entities?limit=20", "/ngsi-ld/v1/entities?limit=20&cursor=1.a_b"]
    requests = [b"".join(parts) for parts in prepare(paged.operation, POPULATION, "127.0.0.1:1026", SEED, pages)]
    assert [text.split()[1].decode() for text in requests] == pages
    assert all(text.startswith(b"GET ") and text.endswith(b"\r\n\r\n") for text in requests)


def test_a_batch_larger_than_the_population_is_refused() -> None:
    batch = next(scenario for scenario in SCENARIOS if scenario.operation.body == "entities")
    with pytest.raises(ValueError, match="larger than population"):
        choose_entities(batch.operation, batch.operation.entities - 1, SEED)
