import os
from pathlib import Path
from typing import Any

import pytest

from broker.validation.definitions import DataModelError
from broker.validation.importing.reading import read_models
from broker.validation.importing.sources import Source, open_source
from tests.unit.validation.importing.test_archives import COMMIT, tarred, zipped
from tests.unit.validation.importing.trees import COMMON_ADDRESS, PATHS, schema, tree

SHARING = schema(allOf=[{"$ref": f"{COMMON_ADDRESS}#/definitions/name"}])
FILES = tree(thing=SHARING, other=SHARING)


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    return written(tmp_path / "collection", FILES)


def names(source: Source) -> list[str]:
    definitions = read_models(source.tree, source=source.name, version=source.version, only=source.only)
    assert [definition.problem for definition in definitions if definition.problem] == []
    return [f"{definition.subject}/{definition.name}" for definition in definitions]


BOTH = ["dataModel.Test/Other", "dataModel.Test/Thing"]
ONE = ["dataModel.Test/Thing"]


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("", BOTH),
        ("dataModel.Test", BOTH),
        ("dataModel.Test/Thing", ONE),
        ("dataModel.Test/Thing/schema.json", ONE),
    ],
)
def test_a_folder_is_read_with_what_lies_around_it(collection: Path, inside: str, expected: list[str]) -> None:
    written(collection, {"private/dataModel.Secret/Thing/schema.json": b"{}"} if inside else {})
    source = open_source(str(collection / inside))
    assert names(source) == expected
    assert not any("Secret" in path for path in source.tree)
    assert source.name == str((collection / inside).parent if inside.endswith(".json") else collection / inside)


@pytest.mark.parametrize("select", ["Thing", "Test/Thing", "dataModel.Test/Thing"])
@pytest.mark.parametrize("inside", ["", "dataModel.Test"])
def test_a_selection_narrows_a_folder(collection: Path, inside: str, select: str) -> None:
    assert names(open_source(str(collection / inside), select)) == ONE


def test_a_relative_path_is_read(collection: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(collection / "dataModel.Test" / "Thing")
    assert names(open_source(".")) == ONE


def test_the_shared_document_may_lie_in_a_checkout_beside_the_subject(tmp_path: Path) -> None:
    files = {path: content for path, content in FILES.items() if path != PATHS["common"]}
    written(tmp_path, {**files, "data-models/common-schema.json": FILES[PATHS["common"]]})
    assert names(open_source(str(tmp_path / "dataModel.Test"))) == BOTH


def test_a_subject_alone_lacks_what_it_shares_and_says_so(tmp_path: Path) -> None:
    files = {path.partition("/")[2]: content for path, content in FILES.items() if "/" in path}
    source = open_source(str(written(tmp_path / "checkout", files)))
    found = read_models(source.tree, source=source.name, version=source.version)
    assert [f"{definition.subject}/{definition.name}" for definition in found] == BOTH
    assert "which is not in the source (expected at common-schema.json)" in found[0].problem


@pytest.mark.parametrize(("pack", "file"), [(zipped, "x.zip"), (tarred, "x.tar.gz")])
@pytest.mark.parametrize("wrapper", ["", "smart-data-models-0a0b0c0/"])
def test_an_archive_is_read_with_its_commit(tmp_path: Path, pack: Any, file: str, wrapper: str) -> None:
    packed = pack({wrapper + path: content for path, content in FILES.items()}, COMMIT)
    (tmp_path / file).write_bytes(packed)
    source = open_source(str(tmp_path / file), "Test/Thing")
    assert (names(source), source.version) == (ONE, COMMIT)


def test_an_archive_of_one_subject_has_its_name(tmp_path: Path) -> None:
    files = {
        f"dataModel.Test-master/{path.partition('/')[2]}": content for path, content in tree().items() if "/" in path
    }
    (tmp_path / "master.zip").write_bytes(zipped(files))
    assert names(open_source(str(tmp_path / "master.zip"))) == ONE


def test_a_schema_alone_is_a_model_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, {"road.json": b'{"properties": {"type": {"const": "Road"}}}'})
    assert names(open_source(str(tmp_path / "road.json"))) == ["/Road"]


class TestGit:
    """Checkouts as git leaves them on disk."""

    HEAD = "ref: refs/heads/main\n"

    def test_the_commit_of_a_branch_is_the_version(self, collection: Path) -> None:
        written(collection, {".git/HEAD": self.HEAD.encode(), ".git/refs/heads/main": f"{COMMIT}\n".encode()})
        assert open_source(str(collection)).version == COMMIT
        assert open_source(str(collection / "dataModel.Test" / "Thing")).version == COMMIT

    def test_references_may_be_packed(self, collection: Path) -> None:
        packed = f"# pack-refs with: peeled\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n^{'e' * 40}\n"
        written(collection, {".git/HEAD": self.HEAD.encode(), ".git/packed-refs": packed.encode()})
        assert open_source(str(collection)).version == COMMIT

    def test_a_commit_may_be_checked_out_itself(self, collection: Path) -> None:
        written(collection, {".git/HEAD": f"{COMMIT}\n".encode()})
        assert open_source(str(collection)).version == COMMIT

    def test_a_worktree_names_its_folder(self, collection: Path, tmp_path: Path) -> None:
        main = {"HEAD": b"ref: refs/heads/other", "refs/heads/main": COMMIT.encode()}
        own = {"worktrees/w/HEAD": self.HEAD.encode(), "worktrees/w/commondir": b"../..\n"}
        written(tmp_path / "main" / ".git", {**main, **own})
        written(collection, {".git": f"gitdir: {tmp_path}/main/.git/worktrees/w\n".encode()})
        assert open_source(str(collection)).version == COMMIT

    def test_the_commit_is_that_of_the_subject_and_not_of_what_lies_around(self, collection: Path) -> None:
        written(collection, {"dataModel.Test/.git/HEAD": COMMIT.encode(), ".git/HEAD": b"f" * 40})
        assert open_source(str(collection / "dataModel.Test")).version == COMMIT

    @pytest.mark.parametrize("head", [b"", b"ref: refs/heads/unborn", b"\xff", b"nonsense"])
    def test_without_a_commit_there_is_no_version(self, collection: Path, head: bytes) -> None:
        written(collection, {".git/HEAD": head})
        assert open_source(str(collection)).version == ""


def test_links_that_lead_out_of_the_folder_are_not_followed(collection: Path, tmp_path: Path) -> None:
    written(tmp_path / "outside", {"schema.json": b"{}", "secret.json": b"{}"})
    (collection / "dataModel.Test" / "Far").symlink_to(tmp_path / "outside")
    (collection / "dataModel.Test" / "secret.json").symlink_to(tmp_path / "outside" / "secret.json")
    (collection / "dataModel.Test" / "gone.json").symlink_to("nowhere.json")
    (collection / "dataModel.Test" / "near.json").symlink_to("Thing/schema.json")
    os.mkfifo(collection / "dataModel.Test" / "pipe.json")
    source = open_source(str(collection))
    assert set(source.tree) == {*FILES, "dataModel.Test/near.json"}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nowhere", "nowhere does not exist"),
        ("empty", "empty holds no data model: expected dataModel.SUBJECT/TYPE/schema.json"),
        ("notes.txt", "notes.txt is no source of data models: expected a folder, an archive"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, where: str, message: str) -> None:
    written(tmp_path, {"notes.txt": b"Hello"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataModelError, match=message):
        open_source(str(tmp_path / where))


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://example.org/a.zip"])
def test_only_http_is_downloaded(where: str) -> None:
    with pytest.raises(DataModelError, match="does not exist"):
        open_source(where)
