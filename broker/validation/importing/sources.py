"""Where data models come from: a folder, an archive, a git checkout, the URL of an archive or of one schema."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from broker.validation.definitions import DataModelError
from broker.validation.importing.archives import is_archive, read_archive
from broker.validation.importing.budget import LARGEST_DOWNLOAD, LARGEST_FILE
from broker.validation.importing.documents import CONTEXT, SCHEMA, Documents, is_model, is_subject, published_paths
from broker.validation.importing.downloads import Download, download, is_url
from broker.validation.importing.folders import find_place, read_commit, read_folder
from broker.validation.importing.layout import arrange, subject_of
from broker.validation.importing.references import canonicalise

_MOST_SUPPLEMENTS = 50
_ROUNDS = 5
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"
_ARCHIVE_ENDINGS = re.compile(r"\.(?:zip|tar|tgz|tar\.gz)$")
_ON_GITHUB = re.compile(
    r"https?://github\.com/(?P<repository>[^/]+/[^/]+?)(?:\.git)?/?"
    r"(?:(?<=/)(?P<kind>tree|blob|raw)/(?P<branch>(?:refs/heads/)?[^/]+)(?:/(?P<path>.*))?)?"
)


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a source in the layout of the Smart Data Models (`layout`), and what they are.

    `name` says where they come from and `version` which state of it: the commit, where that is known. `only` is the
    part that was asked for, as `reading.read_models` takes it, None for all.
    """

    tree: dict[str, bytes] = field(repr=False)
    name: str
    version: str = ""
    only: str | None = None


def open_source(where: str, select: str | None = None) -> Source:
    """The source at a path or URL; `select` narrows it to a subject, a type, or SUBJECT/TYPE.

    A URL may be that of an archive, of a repository or folder on GitHub, or of a schema. Documents of the Smart Data
    Models that it needs and does not hold are downloaded, too; nothing is downloaded for a path. DataModelError where
    there is nothing to read, or more than the limits allow.
    """
    remote = is_url(where)
    source = _from_url(where) if remote else _from_path(Path(where).expanduser())
    only = source.only if select is None else _narrowed(source.only, select)
    if not Documents(source.tree).models():
        raise DataModelError(f"{where} holds no data model: expected dataModel.SUBJECT/TYPE/{SCHEMA} in it.")
    return replace(source, tree=_supplemented(source.tree, only) if remote else source.tree, only=only)


def _narrowed(only: str | None, select: str) -> str:
    wanted = select.strip("/")
    return f"{only}/{wanted}" if only is not None and is_subject(only) and "/" not in wanted else wanted


def _from_path(path: Path) -> Source:
    if path.name == SCHEMA and path.is_file():
        path = path.parent
    if path.is_dir():
        place = find_place(path.resolve())
        tree = arrange(read_folder(place), place.root.name)
        return Source(tree, str(path), read_commit(place.root / place.only), place.only or None)
    if not path.exists():
        raise DataModelError(f"{path} does not exist.")
    try:
        if path.stat().st_size > LARGEST_DOWNLOAD:
            raise DataModelError(f"{path} is refused: it has more than {LARGEST_DOWNLOAD >> 20} MB.")
        content = path.read_bytes()
    except OSError as error:
        raise DataModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    return _from_content(content, path.name, str(path))


def _from_content(content: bytes, file: str, name: str) -> Source:
    if is_archive(content):
        tree, commit = read_archive(content, name)
        return Source(arrange(tree, _ARCHIVE_ENDINGS.sub("", file)), name, commit)
    if file.endswith(".json"):
        return Source(arrange({SCHEMA: content}, file.removesuffix(".json")), name)
    raise DataModelError(
        f"{name} is no source of data models: expected a folder, an archive (.zip, .tar.gz) or a schema (.json)."
    )


def _from_url(url: str) -> Source:
    only = None
    on_github = _ON_GITHUB.fullmatch(url)
    if on_github is not None:
        repository, branch, path = on_github["repository"], on_github["branch"], on_github["path"] or ""
        if on_github["kind"] in ("blob", "raw"):
            url = f"https://raw.githubusercontent.com/{repository}/{branch}/{path}"
        else:
            url = f"https://github.com/{repository}/archive/{branch or 'HEAD'}.zip"
            only = _selection(repository.rpartition("/")[2], path.removesuffix(SCHEMA).strip("/"))
    answer = download(url)
    if is_archive(answer.content):
        tree, commit = read_archive(answer.content, _shown(url))
        file = unquote(urlsplit(answer.url).path.rpartition("/")[2])
        return Source(arrange(tree, _ARCHIVE_ENDINGS.sub("", file)), _shown(url), commit, only)
    if not answer.content.lstrip(_BEFORE_JSON).startswith(b"{"):
        raise DataModelError(
            f"{_shown(url)} is no source of data models: expected an archive (.zip, .tar.gz) or a schema."
        )
    return Source(_schema_with_context(answer, url), _shown(url))


def _selection(repository: str, path: str) -> str | None:
    """What a folder of a repository is as a selection."""
    subject = subject_of(repository)
    return "/".join(part for part in (subject, path) if part) or None


def _schema_with_context(answer: Download, url: str) -> dict[str, bytes]:
    """The schema at a URL, at its place, with the @context that is published beside it, or beside its folder."""
    published = published_paths(url)
    tree = {published[0] if published and is_model(published[0]) else SCHEMA: answer.content}
    folder = "/".join(next(iter(tree)).split("/")[:-2])
    for place in ("../context.jsonld", "context.jsonld"):
        try:
            context = download(urljoin(url, place), limit=LARGEST_FILE).content
        except DataModelError:
            continue
        tree[f"{folder}/{CONTEXT}" if folder else CONTEXT] = context
        break
    name = urlsplit(url).path.split("/")
    return arrange(tree, unquote(name[-2] if name[-1] == SCHEMA else name[-1].removesuffix(".json")))


def _supplemented(tree: dict[str, bytes], only: str | None) -> dict[str, bytes]:
    """The files of a source and the published documents that they refer to; what cannot be had stays away."""
    tree, asked = dict(tree), set[str]()
    for _ in range(_ROUNDS):
        documents = Documents(tree)
        missing = {uri for path in documents.models(only) for uri in _missing(documents, path)} - asked
        for uri in sorted(missing)[: _MOST_SUPPLEMENTS - len(asked)]:
            asked.add(uri)
            try:
                tree[published_paths(uri)[0]] = download(uri, limit=LARGEST_FILE).content
            except DataModelError:
                continue
        if not missing:
            break
    return tree


def _missing(documents: Documents, path: str) -> set[str]:
    try:
        return {uri for uri in canonicalise(documents, path).missing if published_paths(uri)}
    except (DataModelError, RecursionError):
        return set()


def _shown(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
