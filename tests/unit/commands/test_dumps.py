"""Files of entities, read one after the other."""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.commands import dumps
from broker.commands.dumps import STANDARD_INPUT, UnreadableFile, read_entities, size_of

ONE, TWO = {"id": "urn:a:1", "type": "A"}, {"id": "urn:a:2", "type": "A", "text": 'a "quoted" } ] text', "n": [{}]}


def read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return list(read_entities(str(path), lambda _: None))


def entities(folder: Path, text: str) -> list[dict[str, Any]]:
    (folder / "dump.json").write_text(text, encoding="utf-8")
    return [document for _, document in read(folder / "dump.json")]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([ONE, TWO]),
        json.dumps([ONE, TWO], indent=2) + "\n",
        json.dumps(ONE) + "\n" + json.dumps(TWO) + "\n\n",
        json.dumps([ONE]) + "\n" + json.dumps([TWO]),
        json.dumps(ONE, indent=4) + json.dumps(TWO, indent=4),
        "\ufeff" + json.dumps([ONE, TWO]),
    ],
)
def test_entities_stand_one_after_the_other_or_in_arrays(tmp_path: Path, text: str) -> None:
    assert entities(tmp_path, text) == [ONE, TWO]


@pytest.mark.parametrize("text", ["", " \n", "[]", "[ ]\n"])
def test_a_file_may_be_without_entities(tmp_path: Path, text: str) -> None:
    assert entities(tmp_path, text) == []


def test_a_compressed_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(gzip.compress(json.dumps([ONE, TWO]).encode()))

    assert [document for _, document in read(tmp_path / "dump")] == [ONE, TWO]


def test_standard_input_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(ONE).encode())))

    assert list(read_entities(STANDARD_INPUT, lambda _: None)) == [(1, ONE)]


def test_the_line_of_each_entity_is_told(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text('[\n{"a": 1},\n{"b":\n2}, {"c": 3}\n,{"d": 4}]')

    assert [line for line, _ in read(tmp_path / "dump")] == [2, 3, 4, 5]


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(gzip.compress(json.dumps([ONE] * 1000).encode()))
    told: list[int] = []

    list(read_entities(str(tmp_path / "dump"), told.append))

    assert told[-1] == size_of(str(tmp_path / "dump")) > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[\n{"a": 1}', "the file ends in line 2"),
        ('[\n{"a": 1},\n]', "line 3"),
        ('[{"a": 1} {"b": 2}]', "a comma or a closing bracket is expected"),
        ('{"a": 1}\n5', "line 2"),
        ('{"a": 1}\n{"a": 1,\n"b": tru}', "line 3"),
        ('{"a": "never ends', "Unterminated"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' occurs more than once"),
        ('{"a": NaN}', "NaN is no JSON"),
        ("<xml/>", "'<xml/>' stands in line 1"),
        ('{"a": ' * 100_000, "deep"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UnreadableFile, match=said.replace("(", "[(]")):
        entities(tmp_path, text)


def test_other_encodings_and_cut_archives_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes('{"a": "Brücke"}'.encode("latin-1"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(json.dumps([TWO] * 1000).encode())[:-20])

    for name, said in (("latin", "no UTF-8"), ("cut.gz", "cannot be read")):
        with pytest.raises(UnreadableFile, match=said):
            read(tmp_path / name)


VALUES = st.recursive(st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)
DOCUMENTS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=4)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1, "\t"]), st.integers(3, 40))
def test_entities_are_the_same_in_whatever_pieces_a_file_is_read(
    documents: list[dict[str, Any]], array: bool, indent: Any, piece: int
) -> None:
    texts = [json.dumps(document, indent=indent, ensure_ascii=False) for document in documents]
    text = io.StringIO("[" + " ,\n".join(texts) + "]" if array else "\n".join(texts))

    found = dumps._Scanner().objects(lambda _: text.read(piece))

    assert [document for _, document in found] == documents
