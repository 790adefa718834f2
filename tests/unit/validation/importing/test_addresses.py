"""URLs as sources. Downloads come from a dictionary; real ones are in the integration tests."""

import pytest

from broker.validation.definitions import DataModelError
from broker.validation.importing import sources
from broker.validation.importing.downloads import Download
from broker.validation.importing.reading import read_models
from broker.validation.importing.sources import open_source
from tests.unit.validation.importing.test_archives import COMMIT, zipped
from tests.unit.validation.importing.trees import COMMON_ADDRESS, PATHS, content, schema, tree

SHARING = schema(allOf=[{"$ref": f"{COMMON_ADDRESS}#/definitions/name"}])
FILES = tree(thing=SHARING, other=SHARING)
COMMON = FILES[PATHS["common"]]
REPOSITORY = "https://github.com/smart-data-models/dataModel.Test"
RAW = "https://raw.githubusercontent.com/smart-data-models/dataModel.Test/master"


def subject_archive() -> bytes:
    """What GitHub packs of the repository of a subject."""
    files = {
        path.replace("dataModel.Test/", "dataModel.Test-master/"): one for path, one in FILES.items() if "/" in path
    }
    return zipped(files, COMMIT)


class Web:
    """Documents by address; `asked` are those that were asked for."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.asked: list[str] = []

    def download(self, url: str, *, limit: int = 0) -> Download:
        self.asked.append(url)
        if url not in self.documents:
            raise DataModelError(f"{url} cannot be downloaded: Not Found.")
        return Download(self.documents[url], url)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Web:
    web = Web()
    monkeypatch.setattr(sources, "download", web.download)
    return web


def found(where: str, select: str | None = None) -> dict[str, str]:
    """The models of a source with their problems."""
    source = open_source(where, select)
    definitions = read_models(source.tree, source=source.name, version=source.version, only=source.only)
    return {f"{one.subject}/{one.name}": one.problem for one in definitions}


BOTH = {"dataModel.Test/Other": "", "dataModel.Test/Thing": ""}
ONE = {"dataModel.Test/Thing": ""}


def test_an_archive_is_downloaded_with_what_it_needs_of_others(web: Web) -> None:
    web.documents = {"https://example.org/x.zip?token=s": subject_archive(), COMMON_ADDRESS: COMMON}
    assert found("https://example.org/x.zip?token=s") == BOTH
    assert web.asked == ["https://example.org/x.zip?token=s", COMMON_ADDRESS]


def test_what_may_be_secret_in_a_url_is_not_kept(web: Web) -> None:
    url = "https://me:secret@example.org/x.zip?token=secret"
    web.documents = {url: subject_archive()}
    source = open_source(url)
    assert (source.name, source.version) == ("https://example.org/x.zip", COMMIT)


@pytest.mark.parametrize(
    ("url", "archive", "expected"),
    [
        (REPOSITORY, f"{REPOSITORY}/archive/HEAD.zip", BOTH),
        (f"{REPOSITORY}.git", f"{REPOSITORY}/archive/HEAD.zip", BOTH),
        (f"{REPOSITORY}/", f"{REPOSITORY}/archive/HEAD.zip", BOTH),
        (f"{REPOSITORY}/tree/master", f"{REPOSITORY}/archive/master.zip", BOTH),
        (f"{REPOSITORY}/tree/refs/heads/main/Thing", f"{REPOSITORY}/archive/refs/heads/main.zip", ONE),
        (f"{REPOSITORY}/tree/master/Thing/schema.json", f"{REPOSITORY}/archive/master.zip", ONE),
    ],
)
def test_a_repository_on_github_is_read_as_an_archive(web: Web, url: str, archive: str, expected: object) -> None:
    web.documents = {archive: subject_archive(), COMMON_ADDRESS: COMMON}
    assert found(url) == expected


@pytest.mark.parametrize("url", [f"{RAW}/Thing/schema.json", f"{REPOSITORY}/blob/master/Thing/schema.json"])
def test_one_published_schema_comes_with_its_context_and_what_it_needs(web: Web, url: str) -> None:
    web.documents = {
        f"{RAW}/Thing/schema.json": FILES[PATHS["thing"]],
        f"{RAW}/context.jsonld": FILES[PATHS["context"]],
        COMMON_ADDRESS: COMMON,
    }
    assert found(url) == ONE
    assert open_source(url).tree[PATHS["context"]] == FILES[PATHS["context"]]


def test_one_schema_of_ones_own_is_read_with_the_context_beside_it(web: Web) -> None:
    web.documents = {
        "https://example.org/models/Road/schema.json": b'{"properties": {"length": true}}',
        "https://example.org/models/Road/context.jsonld": content({"@context": {"Road": "https://example.org/Road"}}),
    }
    source = open_source("https://example.org/models/Road/schema.json")
    (definition,) = read_models(source.tree, source=source.name, version=source.version)
    assert (definition.iri, definition.problem) == ("https://example.org/Road", "")


def test_what_cannot_be_downloaded_is_the_problem_of_those_that_need_it(web: Web) -> None:
    web.documents = {"https://example.org/x.zip": subject_archive()}
    problem = found("https://example.org/x.zip", "Thing")["dataModel.Test/Thing"]
    assert "which is not in the source (expected at common-schema.json)" in problem


def test_nothing_but_what_is_published_is_downloaded_besides(web: Web) -> None:
    files = {"Thing/schema.json": content({"$ref": "https://geojson.org/schema/Point.json"})}
    web.documents = {"https://example.org/x.zip": zipped(files)}
    assert "geojson.org" in found("https://example.org/x.zip")["/Thing"]
    assert web.asked == ["https://example.org/x.zip"]


def test_a_page_is_no_source(web: Web) -> None:
    web.documents = {"https://example.org/": b"<html>"}
    with pytest.raises(DataModelError, match=r"https://example\.org/ is no source of data models: expected an archive"):
        open_source("https://example.org/")
