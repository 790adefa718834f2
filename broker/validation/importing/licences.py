"""Under which licence a model is published, as far as its source says."""

import re
from typing import Any

from broker.validation.importing.documents import Documents

_KNOWN = (
    ("creative commons attribution 4.0", "CC-BY-4.0"),
    ("creativecommons.org/licenses/by/4.0", "CC-BY-4.0"),
    ("creative commons attribution-sharealike 4.0", "CC-BY-SA-4.0"),
    ("creativecommons.org/licenses/by-sa/4.0", "CC-BY-SA-4.0"),
    ("cc0 1.0 universal", "CC0-1.0"),
    ("creativecommons.org/publicdomain/zero/1.0", "CC0-1.0"),
    ("apache license", "Apache-2.0"),
    ("mit license", "MIT"),
)
_FILES = ("LICENSE.md", "LICENSE", "LICENSE.txt", "LICENCE.md", "LICENCE")
_IN_NOTES = re.compile(r"^\s*[\"']?licen[sc]e[\"']?\s*:\s*[\"']?([^\"'#\n]+)", re.IGNORECASE | re.MULTILINE)
_LOOKED_AT = 4_096
_LONGEST = 200


def read_licence(documents: Documents, path: str, schema: Any) -> str:
    """The licence of the model whose schema is at `path`: an SPDX identifier where it is a known one, else the words
    of the source; "" where it says nothing.

    Its own LICENSE file counts first, then "license" in the schema, then the notes, then the files further up.
    """
    folder, _, _ = path.rpartition("/")
    subject, _, _ = folder.rpartition("/")
    in_schema = schema.get("license") if isinstance(schema, dict) else None
    notes = _IN_NOTES.search(_text(documents, f"{folder}/notes.yaml"))
    return (
        _from_files(documents, f"{folder}/")
        or _identifier(in_schema if isinstance(in_schema, str) else "")
        or _identifier(notes[1] if notes else "")
        or _from_files(documents, f"{subject}/" if subject else "")
        or _from_files(documents, "")
    )


def _from_files(documents: Documents, folder: str) -> str:
    texts = (_text(documents, folder + name) for name in _FILES)
    return next((licence for licence in map(_identifier, texts) if licence), "")


def _text(documents: Documents, path: str) -> str:
    return documents.tree.get(path, b"")[:_LOOKED_AT].decode(errors="replace")


def _identifier(text: str) -> str:
    lower = " ".join(text.lower().split())
    for words, identifier in _KNOWN:
        if words in lower:
            return identifier
    first = next((line.strip("# \t\r") for line in text.splitlines() if line.strip("# \t\r")), "")
    return first[:_LONGEST]
