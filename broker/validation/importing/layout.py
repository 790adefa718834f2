"""The one layout that all readers know, whatever a source looks like:

    common-schema.json                          what the models of all subjects share
    dataModel.SUBJECT/context.jsonld            the @context of the subject
    dataModel.SUBJECT/TYPE/schema.json          the schema of a type

A collection has it already, perhaps inside of other folders. The checkout of a single subject lacks the folder of the
subject: its name tells it, or else its @context. A folder with nothing but a schema is a type of its own. Models
without a subject lie in `TYPE/schema.json`, with a `context.jsonld` beside the types or in them.
"""

import re
from collections import Counter
from collections.abc import Mapping

import orjson

from broker.validation.importing.documents import COMMON, CONTEXT, SCHEMA, declared_types, is_subject

Tree = Mapping[str, bytes]

_BRANCH_OF_ARCHIVE = re.compile(r"-(?:master|main|HEAD|[0-9a-f]{7,40})$")
_SUBJECT_IRI = re.compile(rb"https://smartdatamodels\.org/(dataModel\.[^/\"]+)/")

_SKIPPED = frozenset({"examples", "node_modules", "__MACOSX"})
_LARGEST_DEPTH = 12


def is_wanted(path: str) -> bool:
    """Whether a file may matter to a model: a schema, an @context, a licence, notes."""
    *folders, name = path.split("/")
    if len(folders) > _LARGEST_DEPTH or any(folder in _SKIPPED or folder.startswith(".") for folder in folders):
        return False
    return name.endswith(".json") or name in (CONTEXT, "notes.yaml") or name.upper().startswith(("LICENSE", "LICENCE"))


def subject_of(folder: str) -> str:
    """The subject whose folder, checkout or archive has this name; "" if it is none's."""
    name = _BRANCH_OF_ARCHIVE.sub("", folder)
    return name if is_subject(name) else ""


def arrange(tree: Tree, name: str) -> dict[str, bytes]:
    """The files in the layout above. `name` is that of the folder or archive that they come from."""
    while (wrapper := _wrapper(tree)) is not None:
        tree = {path.partition("/")[2]: content for path, content in tree.items()}
        name = wrapper
    placed: dict[str, bytes] = {}
    loose: dict[str, bytes] = {}
    for path in sorted(tree, key=lambda path: (path.count("/"), path)):
        folders = path.split("/")
        subject = next(((i, s) for i, f in enumerate(folders[:-1]) if (s := subject_of(f))), None)
        if subject is not None:
            placed.setdefault("/".join([subject[1], *folders[subject[0] + 1 :]]), tree[path])
        elif folders[-1] == COMMON:
            placed.setdefault(COMMON, tree[path])
        else:
            loose[path] = tree[path]
    if all(path == COMMON for path in placed):
        loose = _own(loose, name)
    return {**loose, **placed}


def _own(tree: Tree, name: str) -> dict[str, bytes]:
    """The files of one subject, or of models without one, as the files of a collection."""
    if SCHEMA in tree:
        folder = _type_in(tree[SCHEMA]) or _BRANCH_OF_ARCHIVE.sub("", name)
        tree = {path if path == CONTEXT else f"{folder}/{path}": content for path, content in tree.items()}
    subject = subject_of(name) or _subject_in(tree.get(CONTEXT, b""))
    return {f"{subject}/{path}": content for path, content in tree.items()} if subject else dict(tree)


def _type_in(content: bytes) -> str:
    """The one type that a schema is for, if it says so and that is a usable name."""
    try:
        types = declared_types(orjson.loads(content))
    except orjson.JSONDecodeError:
        return ""
    return types[0] if len(types) == 1 and types[0].isidentifier() else ""


def _subject_in(context: bytes) -> str:
    """The subject that most IRIs of an @context belong to."""
    found = Counter(_SUBJECT_IRI.findall(context)).most_common(1)
    return found[0][0].decode(errors="replace") if found else ""


def _wrapper(tree: Tree) -> str | None:
    """The folder that holds all files and is none of the layout, as archives have it."""
    first = {path.partition("/")[0] for path in tree}
    if len(first) != 1 or not all("/" in path for path in tree):
        return None
    folder = first.pop()
    models = {path for path in tree if path.rpartition("/")[2] == SCHEMA}
    return None if is_subject(folder) or f"{folder}/{SCHEMA}" in models else folder
