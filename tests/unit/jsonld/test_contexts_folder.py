import json
from pathlib import Path
from typing import Any

import pytest

from broker.jsonld.contexts import Contexts
from broker.jsonld.folder import ContextFolders
from broker.ngsild.errors import LdContextNotAvailable
from broker.setting import SettingsError


class NoNetwork:
    async def get_json(self, url: str, **_: Any) -> Any:
        raise AssertionError(f"{url} was downloaded")


def folder_with(path: Path, **documents: Any) -> Path:
    for name, document in documents.items():
        (path / name).write_text(json.dumps(document))
    (path / "index.json").write_text(json.dumps({f"https://example.org/{name}": name for name in documents}))
    return path


async def test_a_context_of_the_folder_needs_no_download(tmp_path: Path):
    folder = folder_with(tmp_path, a={"@context": ["b"]}, b={"@context": {"speed": "http://e.org/speed"}})

    context = await Contexts(NoNetwork(), folders=[folder]).resolve("https://example.org/a")

    assert context.expand("speed") == "http://e.org/speed"


def test_a_folder_without_an_index_stops_the_start(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"VELA_CONTEXTS_DIR: .*index\.json cannot be used"):
        Contexts(NoNetwork(), folders=[tmp_path])


@pytest.mark.parametrize("index", ["[]", "{", '{"https://example.org/a": 5}', '{"https://example.org/a": "absent"}'])
def test_an_unusable_index_stops_the_start(tmp_path: Path, index: str):
    (tmp_path / "index.json").write_text(index)

    with pytest.raises(SettingsError, match="expected"):
        ContextFolders([tmp_path])


@pytest.mark.parametrize("document", [5, [], {}, {"context": {}}])
def test_a_document_that_is_no_context_stops_the_start(tmp_path: Path, document: Any):
    with pytest.raises(SettingsError, match=r"expected the JSON-LD @context of https://example\.org/a"):
        ContextFolders([folder_with(tmp_path, a=document)])


async def test_a_file_that_vanishes_later_makes_its_context_unavailable(tmp_path: Path):
    contexts = Contexts(NoNetwork(), folders=[folder_with(tmp_path, a={"@context": {}})])
    (tmp_path / "a").unlink()

    with pytest.raises(LdContextNotAvailable):
        await contexts.resolve("https://example.org/a")
