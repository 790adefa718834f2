"""`vela datamodels` against a running broker, and `check` without one."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from broker.bundled import bundled
from broker.commands.datamodels import datamodels_group
from broker.local import free_port
from tests.conftest import RunningBroker

API = "/ngsi-ld/v1"
SUBJECT = "dataModel.Harbour"
CONTEXT = {
    "@context": {
        name: f"https://smartdatamodels.org/{SUBJECT}/{name}" for name in ("Crane", "Berth", "load", "state", "berth")
    }
}
CRANE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "description": "A crane of the harbour.",
    "type": "object",
    "required": ["id", "type", "load"],
    "properties": {
        "type": {"const": "Crane"},
        "load": {"type": "number", "minimum": 0, "description": "What hangs on it.", "x-vela-units": ["TNE"],
                 "x-vela-observed-at": True},
        "state": {"enum": ["idle", "busy"], "description": "Whether it works."},
        "berth": {"type": "string", "format": "uri"},
    },
}  # fmt: skip
PARKING_EXAMPLES = bundled("datamodels") / "dataModel.Parking" / "OffStreetParking" / "examples"


async def vela(*arguments: str, text: str | None = None) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, datamodels_group, list(arguments), input=text)


async def told(*arguments: str) -> Any:
    """What a command prints as JSON."""
    result = await vela(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def harbour(tmp_path: Path) -> Path:
    """A folder of data models: one that can be used, and one that refers to what is not there."""
    folder = tmp_path / "harbour"
    for name, schema in (("Crane", CRANE), ("Berth", {"allOf": [{"$ref": "#/definitions/none"}]})):
        (folder / SUBJECT / name).mkdir(parents=True)
        (folder / SUBJECT / name / "schema.json").write_text(json.dumps(schema))
    (folder / SUBJECT / "context.jsonld").write_text(json.dumps(CONTEXT))
    return folder


def crane(number: int = 1, **attributes: Any) -> dict[str, Any]:
    return {"id": f"urn:ngsi-ld:Crane:{number}", "type": "Crane", **attributes, **CONTEXT}


async def create(broker: RunningBroker, document: dict[str, Any], tenant: str = "") -> int:
    headers = {"Content-Type": "application/ld+json", **({"NGSILD-Tenant": tenant} if tenant else {})}
    async with broker.client.post(f"{API}/entities", json=document, headers=headers) as answer:
        return answer.status


async def test_models_are_imported_listed_shown_and_removed(broker: RunningBroker, harbour: Path) -> None:
    at = ("--broker", broker.url)

    first = await vela("import", str(harbour), *at)

    assert first.exit_code == 0, first.output
    assert "2 data models: 1 imported, 0 unchanged, 1 quarantined." in first.stdout
    assert "definitions/none" in first.stdout
    again = await told("import", str(harbour), "--only", "Crane", *at)
    assert [(one["name"], one["status"]) for one in again] == [("Crane", "unchanged")]
    listed = await told("list", "--subject", SUBJECT, *at)
    assert {(one["name"], one["origin"], bool(one.get("problem"))) for one in listed} == {
        ("Crane", "imported", False), ("Berth", "imported", True)}  # fmt: skip
    assert [one["name"] for one in await told("list", "--subject", SUBJECT, "--problems", *at)] == ["Berth"]
    table = (await vela("list", *at)).stdout
    assert "Crane" in table
    assert "OffStreetParking" in table

    shown = (await vela("show", "Crane", *at)).stdout
    for text in ("A crane of the harbour.", str(harbour), "at least 0", "TNE with observedAt", "idle, busy", "yes"):
        assert text in shown
    assert (await told("show", "Crane", *at))["definition"]["name"] == "Crane"
    assert (await vela("show", "Berth", *at)).exit_code == 0

    assert (await vela("remove", "Crane", *at)).exit_code == 0
    gone = await vela("show", "Crane", *at)
    assert (gone.exit_code, "does not exist" in gone.stderr) == (1, True)
    bundled_one = await vela("remove", "OffStreetParking", *at)
    assert (bundled_one.exit_code, "off" in bundled_one.stderr) == (1, True), bundled_one.output


async def test_an_import_of_which_nothing_can_be_used_fails(broker: RunningBroker, harbour: Path) -> None:
    for arguments in (["--only", "Berth"], ["--only", "Tug"]):
        result = await vela("import", str(harbour), *arguments, "--broker", broker.url)
        assert result.exit_code == 1, result.output
    missing = await vela("import", str(harbour / "none"), "--broker", broker.url)
    assert (missing.exit_code, "does not exist" in missing.stderr) == (1, True)


async def test_a_policy_is_set_shown_and_taken_back(broker: RunningBroker, harbour: Path, tenant: str) -> None:
    at = ("--broker", broker.url)
    await vela("import", str(harbour), "--only", "Crane", *at)

    assert (await vela("policy", "Crane", "enforce", *at)).exit_code == 0
    assert (await vela("policy", "Crane", "off", "--tenant", tenant, *at)).exit_code == 0

    assert await create(broker, crane(10, load=-1)) == 400
    assert await create(broker, crane(10, load=-1), tenant) == 201
    found = await told("policy", "Crane", *at)
    assert {(one["tenant"], one["policy"]) for one in found} == {(None, "enforce"), (tenant, "off")}
    assert [one["policy"] for one in await told("policy", "--tenant", tenant, *at)] == ["off"]
    listed = (await vela("policy", *at)).stdout
    assert tenant in listed

    assert (await vela("policy", "Crane", "default", *at)).exit_code == 0
    assert await create(broker, crane(10, load=-1)) == 201
    assert [one["policy"] for one in await told("policy", "Crane", *at)] == ["off"]


async def test_violations_tell_who_sends_what_and_are_forgotten(
    broker: RunningBroker, harbour: Path, tenant: str
) -> None:
    at = ("--broker", broker.url)
    await vela("import", str(harbour), "--only", "Crane", *at)
    for number in (20, 21):
        assert await create(broker, crane(number, load=-1, dataProvider="quay 5"), tenant) == 201
    assert await create(broker, crane(22, load=1, state="tired"), tenant) == 201

    of_load = await told("violations", "--tenant", tenant, "--attribute", "load", "--rule", "minimum", *at)

    assert [(one["count"], one["attribute"], one["rule"]) for one in of_load] == [(2, "load", "minimum")]
    table = (await vela("violations", "--tenant", tenant, "--type", "Crane", *at)).stdout
    for text in ("load", "minimum", "state", "enum", "urn:ngsi-ld:Crane:22", "warn"):
        assert text in table
    assert len(await told("violations", "--tenant", tenant, "--limit", "1", *at)) == 1

    assert (await vela("violations", "--tenant", tenant, "--attribute", "load", "--clear", *at)).exit_code == 0
    left = await told("violations", "--tenant", tenant, *at)
    assert {one["attribute"] for one in left} == {"state"}


async def test_a_model_is_inferred_from_stored_entities_and_can_be_imported(
    broker: RunningBroker, tenant: str, tmp_path: Path
) -> None:
    at = ("--broker", broker.url)
    entities = [
        {"id": f"urn:ngsi-ld:Buoy:{number}", "type": "https://smartdatamodels.org/dataModel.Sea/Buoy",
         "depth": {"type": "Property", "value": number / 10, "unitCode": "MTR"}, "urn:sea:colour": "red",
         "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [12.1, 54.2]}}}
        for number in range(7)
    ]  # fmt: skip
    for document in entities:
        assert await create(broker, {**document, "@context": {}}, tenant) == 201
    asked = ("infer", "https://smartdatamodels.org/dataModel.Sea/Buoy", "--tenant", tenant, *at)

    printed = json.loads((await vela(*asked, "--sample", "3")).stdout)
    assert "3 entities" in printed["schema.json"]["description"]
    refused = await vela(*asked, "--out", str(tmp_path))
    assert (refused.exit_code, "--context" in refused.stderr) == (1, True), refused.output

    link = await hosted(broker, {"@context": {"Buoy": "https://smartdatamodels.org/dataModel.Sea/Buoy",
                                             "colour": "urn:sea:colour"}})  # fmt: skip
    asked = ("infer", "Buoy", "--context", link, "--tenant", tenant, "--out", str(tmp_path), *at)
    written = await vela(*asked, "--strict")
    assert written.exit_code == 0, written.output
    schema = json.loads((tmp_path / "dataModel.Sea" / "Buoy" / "schema.json").read_text())
    assert schema["required"] == ["id", "type", "colour", "depth", "location"]
    assert (schema["properties"]["depth"]["maximum"], schema["properties"]["depth"]["x-vela-units"]) == (0.6, ["MTR"])
    assert (await vela(*asked)).exit_code == 1  # nothing is overwritten

    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps([{**one, "@context": {}} for one in entities]))
    assert (await vela("check", str(dump), "--models", str(tmp_path))).exit_code == 0
    assert (await vela("lint", str(tmp_path))).exit_code == 0
    assert (await vela("import", str(tmp_path), *at)).exit_code == 0
    assert (await vela("check", str(dump), *at)).exit_code == 0


async def hosted(broker: RunningBroker, document: dict[str, Any]) -> str:
    async with broker.client.post(f"{API}/jsonldContexts", json=document) as answer:
        assert answer.status == 201
        return broker.url + answer.headers["Location"]


async def test_files_are_checked_against_the_models_of_a_broker(
    broker: RunningBroker, harbour: Path, tmp_path: Path
) -> None:
    await vela("import", str(harbour), "--broker", broker.url)
    dump = tmp_path / "dump.jsonl.gz"
    lines = [
        crane(1, load=5),
        crane(2, load=-5),
        {**crane(3), "type": ["Crane", "Thing"]},
        crane(4, load=1) | {"type": "Tug"},
    ]
    dump.write_bytes(gzip.compress("\n".join(json.dumps(line) for line in lines).encode()))

    result = await vela("check", str(dump), "--broker", broker.url)

    assert result.exit_code == 1
    assert "line 2: urn:ngsi-ld:Crane:2  /load is -5; expected a number of at least 0" in result.stdout
    assert "line 3: urn:ngsi-ld:Crane:3  /load is missing" in result.stdout
    assert f"{SUBJECT}/Crane/schema.json#/properties/load/minimum" in result.stdout
    assert "Thing (1), Tug (1)" in result.stdout
    assert "4 entities in 1 file: 2 violations in 2 of them." in result.stdout


async def test_advice_is_counted_and_fails_nothing(harbour: Path, tmp_path: Path) -> None:
    (tmp_path / "crane.json").write_text(json.dumps(crane(1, load={"type": "Property", "value": 5})))

    result = await vela("check", str(tmp_path / "crane.json"), "--models", str(harbour))

    assert result.exit_code == 0
    assert "x-vela-observed-at (advice)" in result.stdout
    assert "0 violations in 0 of them. 1 piece of advice." in result.stdout
    assert "line 1" not in result.stdout


@pytest.mark.parametrize("file", sorted(PARKING_EXAMPLES.glob("*valid-*.json")), ids=lambda file: file.stem)
async def test_a_file_is_checked_without_a_broker(file: Path) -> None:
    result = await vela("check", str(file))

    assert result.exit_code == (1 if file.stem.startswith("invalid") else 0), result.output


def test_the_three_forms_of_an_entity_give_the_same_verdict(harbour: Path, tmp_path: Path) -> None:
    def checked(load: Any, **attributes: Any) -> list[str]:
        file = tmp_path / "entity.json"
        file.write_text(json.dumps(crane(1, load=load, **attributes)))
        result = CliRunner().invoke(datamodels_group, ["check", str(file), "--models", str(harbour), "--json"])
        found = [json.loads(line) for line in result.stdout.splitlines()]
        assert result.exit_code == bool([one for one in found if not one["advisory"]]), result.output
        return [f"{one['pointer']} {one['rule']}" for one in found]

    observed = {"observedAt": "2026-01-31T12:00:00Z"}
    assert checked(5, state="tired") == ["/state enum"]
    assert checked({"value": 5, **observed}, state="tired") == ["/state enum"]
    assert checked({"type": "Property", "value": 5, **observed}, state={"type": "Property", "value": "tired"}) == [
        "/state enum"]  # fmt: skip
    assert [one.partition(" ")[2] for one in checked({"value": 5, "unitCode": "KGM", **observed})] == ["x-vela-units"]
    # Simplified entities have no observedAt: only the other forms are reminded of it.
    assert [one.partition(" ")[2] for one in checked({"value": 5})] == ["x-vela-observed-at"]


async def test_names_are_read_by_the_given_context_or_as_the_model_has_them(harbour: Path, tmp_path: Path) -> None:
    plain = {"id": "urn:ngsi-ld:Crane:1", "type": "Crane", "load": -5}
    german = {
        "id": "urn:ngsi-ld:Crane:1",
        "type": "Kran",
        "last": -5,
        "@context": "https://harbour.example/kran.jsonld",
    }
    own = {"@context": {"Kran": CONTEXT["@context"]["Crane"], "last": CONTEXT["@context"]["load"]}}
    for name, document in (("plain", plain), ("german", german), ("own", own)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    models = ("--models", str(harbour))

    by_name = await vela("check", str(tmp_path / "plain.json"), *models)
    assert "/load is -5" in by_name.stdout
    assert "1 entity names no @context" in by_name.stdout
    unknown = await vela("check", str(tmp_path / "german.json"), *models)
    assert unknown.exit_code == 0
    assert "https://harbour.example/kran.jsonld, which is not known here" in unknown.stdout
    given = await vela("check", str(tmp_path / "german.json"), *models, "--context", str(tmp_path / "own.json"))
    assert "/load is -5" in given.stdout
    forced = await vela("check", str(tmp_path / "german.json"), *models, "--type", f"{SUBJECT}/Crane")
    assert "/load is missing" in forced.stdout
    none = await vela("check", str(tmp_path / "german.json"), *models, "--type", "Tug")
    assert (none.exit_code, "no data model for the type Tug" in none.stderr) == (1, True)


async def test_a_file_that_is_no_dump_is_named_and_the_others_are_checked(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[{]")
    (tmp_path / "unreadable.json").write_text('{"id": "no uri", "type": "T", "a": 1}')
    (tmp_path / "many.json").write_text(json.dumps([{"id": "urn:a:1", "type": "OffStreetParking"}] * 150))

    result = await vela("check", *(str(tmp_path / name) for name in ("bad.json", "unreadable.json", "many.json")))

    assert result.exit_code == 1
    assert "bad.json: it is no JSON" in result.stderr
    assert "unreadable.json:1: no uri  /id" in result.stdout
    assert "and 51 more" in result.stdout
    everything = await vela("check", str(tmp_path / "many.json"), "--limit", "0")
    assert everything.stdout.count("/location is missing") == 150


async def test_standard_input_is_checked() -> None:
    result = await vela("check", "-", text='{"id": "urn:a:1", "type": "OffStreetParking"}')
    assert (result.exit_code, "urn:a:1  /location is missing" in result.stdout) == (1, True), result.output


async def test_lint_says_what_is_wrong_with_a_source(harbour: Path) -> None:
    result = await vela("lint", str(harbour))

    assert result.exit_code == 1
    assert f"{SUBJECT}/Berth/schema.json" in result.stdout
    findings = json.loads((await vela("lint", str(harbour), "--only", "Crane", "--json")).stdout)
    assert {one["level"] for one in findings} <= {"warning"}


async def test_a_broker_that_does_not_answer_is_named() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    result = await vela("list", "--broker", address)
    assert (result.exit_code, address in result.stderr) == (1, True)
