"""The published examples of the Smart Data Models: each comes back equal, or is refused for the rule that it breaks.

They name their @contexts by URL. The broker has those from a folder, as at a site without internet. Skipped where the
examples are not at hand: VELA_SHARED_DATA names the folder that holds smart-data-models/ and contexts/.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from broker.local import LocalBroker
from tests.integration.api import ENTITIES, JSON, JSON_LD, link
from tests.integration.wire import request
from tests.representations import NORMALIZED, SIMPLIFIED, Document, exactly
from tests.unit.jsonld.oracle import shared_data

GENERAL = [
    "https://smartdatamodels.org/context",
    "https://raw.githubusercontent.com/smart-data-models/dataModel.Aeronautics/refs/heads/master/context.jsonld",
]
"""Addresses that examples name without a document of their own here: the @context of all models stands for them."""

OF_A_MODEL = [
    "https://raw.githubusercontent.com/smart-data-models/{}/master/context.jsonld",
    "https://raw.githubusercontent.com/smart-data-models/{}/refs/heads/master/context.jsonld",
    "https://smart-data-models.github.io/{}/context.jsonld",
]

NOT_A_URI = ("/id", "the id is no URI (4.5.1)")
VALUE = ("/value", "a member of attributes as the name of an attribute (4.5.1)")
UNIT_CODE = ("/unitCode", VALUE[1])
OBSERVED_AT = ("/observedAt", VALUE[1])
LATITUDE = ("/location", "a latitude of 168 degrees (4.7.1)")
SPACE = ("/featuredArtist ", "a name that ends with a space (4.6.2)")
NOT_A_TYPE = "an attribute type that does not exist (4.5.2.2)"
NOT_A_TIME = "a time that is no DateTime in UTC (4.6.3)"

FORBIDDEN = {
    "example-normalized.jsonld": {
        "Device/Device": VALUE,
        "Device/Modbus": VALUE,
        "Environment/FloodMonitoring": ("/floodLevelStatus/type", NOT_A_TYPE),
        "Environment/NightSkyQuality": NOT_A_URI,
        "Environment/PhreaticObserved": ("/depth/observedAt", NOT_A_TIME),
        "Environment/WaterObserved": ("/dateObserved/object", "the object of a Relationship is no URI (4.5.3.2)"),
        "Transportation/CityWork": ("/workDisposition/tramwayImpacted/type", NOT_A_TYPE),
        "Transportation/RestrictionException": ("/name/type", NOT_A_TYPE),
        "Transportation/SpecialRestriction": ("/name/type", NOT_A_TYPE),
        "Transportation/TransportStation": ("/dateLastReported/type", NOT_A_TYPE),
        "Transportation/Vehicle": ("/battery/observedAt", NOT_A_TIME),
        "Transportation/VehicleFault": OBSERVED_AT,
        "Weather/WeatherForecast": NOT_A_URI,
    },
    "example.jsonld": {
        "Device/Device": VALUE,
        "Device/Modbus": VALUE,
        "Environment/NightSkyQuality": NOT_A_URI,
        "Transportation/AnprFlowObserved": LATITUDE,
        "Transportation/EVChargingStation": ("/@context", "an @context that is no address (5.5.7)"),
        "Transportation/FleetVehicleStatus": UNIT_CODE,
        "Transportation/RoadAccident": LATITUDE,
        "Transportation/TransportStation": SPACE,
        "Transportation/VehicleFault": OBSERVED_AT,
        "Weather/WeatherAlert": NOT_A_URI,
        "Weather/WeatherForecast": NOT_A_URI,
    },
    "example.json": {
        "Device/Device": NOT_A_URI,
        "Device/DeviceModel": NOT_A_URI,
        "Device/Modbus": VALUE,
        "Environment/AeroAllergenObserved": NOT_A_URI,
        "Environment/NightSkyQuality": NOT_A_URI,
        "Parking/OffStreetParking": NOT_A_URI,
        "Parking/ParkingGroup": NOT_A_URI,
        "Transportation/AnprFlowObserved": LATITUDE,
        "Transportation/BikeLane": NOT_A_URI,
        "Transportation/FleetVehicleStatus": UNIT_CODE,
        "Transportation/Road": NOT_A_URI,
        "Transportation/RoadAccident": LATITUDE,
        "Transportation/RoadSegment": NOT_A_URI,
        "Transportation/TrafficFlowObserved": NOT_A_URI,
        "Transportation/TransportStation": SPACE,
        "Transportation/VehicleFault": OBSERVED_AT,
        "Weather/SeaConditions": NOT_A_URI,
        "Weather/WeatherAlert": NOT_A_URI,
        "Weather/WeatherForecast": NOT_A_URI,
    },
}
"""What the specification forbids, by file name and model: the JSON pointer that the refusal names, and the reason."""

Count = Callable[[str], None]


@pytest.fixture(scope="module")
def models() -> Path:
    """The folder of the examples."""
    folder = shared_data() / "smart-data-models"
    if not folder.is_dir():
        pytest.skip(f"no examples in {folder}: set VELA_SHARED_DATA to the folder that has smart-data-models/")
    return folder


@pytest.fixture(scope="module")
def broker_settings(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A folder with all @contexts that examples name, and one for each list of them, so that a Link can name it."""
    folder = tmp_path_factory.mktemp("contexts")
    general = models.parent / "contexts"
    index = {url: str(general / name) for url, name in json.loads((general / "index.json").read_text()).items()}
    index.update(dict.fromkeys(GENERAL, index["https://smartdatamodels.org/context.jsonld"]))
    for subject in models.glob("dataModel.*"):
        index.update({url.format(subject.name): str(subject / "context.jsonld") for url in OF_A_MODEL})
    for file in examples(models, "example*.jsonld"):
        context = json.loads(file.read_text())["@context"]
        if is_usable(context):
            url = link_for(context)
            index[url] = url.rpartition("/")[2]
            (folder / index[url]).write_text(json.dumps({"@context": context}))
    (folder / "index.json").write_text(json.dumps(index))
    return {"contexts_dir": folder}


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Count:
    """Prints a line of the result, whatever pytest captures."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            request.config.get_terminal_writer().line(f"\n{line}")

    return write


def examples(models: Path, pattern: str) -> list[Path]:
    """The example files with this name, one for each model that has it."""
    return sorted(models.glob(f"dataModel.*/*/examples/{pattern}"))


def model_of(file: Path) -> str:
    """Subject and name of the model, as in "Parking/OffStreetParking"."""
    return f"{file.parents[2].name.removeprefix('dataModel.')}/{file.parents[1].name}"


def is_usable(context: list[str]) -> bool:
    return all(url.startswith("http") for url in context)


def link_for(context: list[str]) -> str:
    """The URL under which the folder has a list of @contexts."""
    return f"https://models.example/{hashlib.sha256(repr(context).encode()).hexdigest()}"


def create(port: int, tenant: str, file: Path) -> tuple[Document, str, Any]:
    """Create the entity of a file: the entity without its @context, the URL for reading it, and the answer."""
    entity = orjson.loads(file.read_bytes())
    tenant_header = {"NGSILD-Tenant": tenant}
    if file.suffix == ".jsonld":
        answer = request(port, "POST", ENTITIES, {"Content-Type": JSON_LD, **tenant_header}, file.read_bytes())
        return entity, link_for(entity.pop("@context")), answer
    url = OF_A_MODEL[0].format(file.parents[2].name)
    headers = {"Content-Type": JSON, **tenant_header, **link(url)}
    return entity, url, request(port, "POST", ENTITIES, headers, file.read_bytes())


@pytest.mark.parametrize(
    ("name", "form"),
    [("example-normalized.jsonld", NORMALIZED), ("example.jsonld", SIMPLIFIED), ("example.json", SIMPLIFIED)],
)
def test_a_published_example_comes_back_equal_or_breaks_the_rule_that_is_listed_for_it(
    models: Path, broker_process: LocalBroker, tenant: str, count: Count, name: str, form: str
) -> None:
    port, forbidden, equal = broker_process.settings.port, FORBIDDEN[name], 0
    files = examples(models, name)
    for file in files:
        entity, url, answer = create(port, tenant, file)
        if model_of(file) in forbidden:
            pointer, _ = forbidden[model_of(file)]
            problem = answer.problem(400, "BadRequestData")
            assert pointer in [error["pointer"] for error in problem["errors"]], (file, problem)
            continue
        assert answer.status == 201, (file, answer.body)
        target = f"{ENTITIES}/{quote(entity['id'], safe='')}?format={form}"
        read = request(port, "GET", target, {"NGSILD-Tenant": tenant, **link(url)})
        assert read.status == 200, (file, read.body)
        assert exactly(read.json()) == exactly(entity), file
        deleted = request(port, "DELETE", target.partition("?")[0], {"NGSILD-Tenant": tenant})
        assert deleted.status == 204, (file, deleted.body)  # two models have examples of the same id
        equal += 1
    count(f"{name}: {equal} of {len(files)} created and read back equal, {len(forbidden)} refused")
    assert equal == len(files) - len(forbidden) > 0


def test_an_entity_of_ngsi_v2_is_refused(models: Path, broker_process: LocalBroker, tenant: str, count: Count) -> None:
    files = examples(models, "example-normalized.json")
    for file in files:
        _, _, answer = create(broker_process.settings.port, tenant, file)
        answer.problem(400, "BadRequestData")
    count(f"example-normalized.json: all {len(files)} are NGSI v2, and refused")
    assert files
