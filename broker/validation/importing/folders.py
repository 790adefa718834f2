"""Folders on this machine: those of a collection, of a subject, of one model; and checkouts of git.

A model or subject needs what lies around it, the documents that all share and the @context. So the folder that holds
the whole collection is looked for from the given one upwards, and the given one becomes a selection in it.
"""

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from broker.validation.definitions import DataModelError
from broker.validation.importing.budget import Budget
from broker.validation.importing.documents import COMMON, CONTEXT, SCHEMA
from broker.validation.importing.layout import is_wanted, subject_of

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHARED = (COMMON, f"data-models/{COMMON}")


class Place(NamedTuple):
    """The folder `root` that is to be read, and what was meant in it: "" for all, a subject, or SUBJECT/TYPE."""

    root: Path
    only: str


def find_place(folder: Path) -> Place:
    """Where to read for the models in `folder`."""
    root, only = folder, ""
    if (folder / SCHEMA).is_file() and (subject_of(folder.parent.name) or (folder.parent / CONTEXT).is_file()):
        root, only = folder.parent, folder.name
    subject = subject_of(root.name)
    if subject and any((root.parent / shared).is_file() for shared in _SHARED):
        return Place(root.parent, f"{subject}/{only}" if only else subject)
    return Place(root, only)


def read_folder(place: Place) -> dict[str, bytes]:
    """The files under a folder that may matter to data models, by path; around a subject, only those of the layout.

    Links to files inside of the folder are followed, others are not. DataModelError past the limits, or where the
    folder cannot be read.
    """
    root = place.root.resolve()
    budget = Budget(str(place.root))
    tree: dict[str, bytes] = {}
    try:
        for folder, folders, files in os.walk(root, onerror=_refuse):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if _is_entered(here, name, root, place.only))
            for name in sorted(files):
                path = (here / name).relative_to(root).as_posix()
                budget.count(path)
                if is_wanted(path) and _is_inside(here / name, root):
                    with (here / name).open("rb") as file:
                        tree[path] = budget.read(file, path)
    except OSError as error:
        raise DataModelError(f"{place.root} cannot be read: {error.strerror or error} ({error.filename}).") from error
    return tree


def read_commit(folder: Path) -> str:
    """The commit that the git checkout around `folder` is at; "" where there is no checkout. Needs no git."""
    for parent in (folder.resolve(), *folder.resolve().parents):
        mark = parent / ".git"
        if mark.exists():
            return _head(mark)
    return ""


def _is_entered(here: Path, name: str, root: Path, only: str) -> bool:
    """Whether a folder is looked into. Around a subject, where anything may lie, only what the layout has is."""
    if name.startswith(".") or (here / name).is_symlink():
        return False
    surroundings = here == root and subject_of(only.partition("/")[0])
    return not surroundings or name == "data-models" or bool(subject_of(name))


def _is_inside(file: Path, root: Path) -> bool:
    target = file.resolve()
    return target.is_relative_to(root) and target.exists() and stat.S_ISREG(target.stat().st_mode)


def _refuse(error: OSError) -> None:
    raise error


def _head(mark: Path) -> str:
    """What HEAD stands for, through the files that git keeps it in."""
    try:
        folder = mark
        if mark.is_file():  # a worktree or submodule names its folder
            folder = mark.parent / mark.read_text().removeprefix("gitdir:").strip()
        shared = folder / "commondir"
        common = folder / shared.read_text().strip() if shared.is_file() else folder
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head if _COMMIT.fullmatch(head) else ""
        reference = head.removeprefix("ref:").strip()
        for place in (folder, common):
            if (place / reference).is_file():
                return (place / reference).read_text().strip()
        packed = common / "packed-refs"
        lines = packed.read_text().splitlines() if packed.is_file() else []
        return next((line.split(" ")[0] for line in lines if line.endswith(f" {reference}")), "")
    except (OSError, ValueError):
        return ""
