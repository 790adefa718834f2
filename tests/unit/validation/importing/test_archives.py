import io
import stat
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from broker.validation.definitions import DataModelError
from broker.validation.importing import budget
from broker.validation.importing.archives import is_archive, read_archive

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"a/Thing/schema.json": b"{}", "a/Thing/README.md": b"no", "a/Thing/examples/example.json": b"{}"}
Pack = Callable[..., bytes]


def zipped(files: dict[str, bytes], comment: str = "") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.comment = comment.encode()
    return packed.getvalue()


def tarred(files: dict[str, bytes], comment: str = "", mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    headers = {"comment": comment} if comment else {}
    with tarfile.open(fileobj=packed, mode=mode, format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:  # type: ignore[call-overload]
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def plain_tar(files: dict[str, bytes], comment: str = "") -> bytes:
    return tarred(files, comment, "w")


both = pytest.mark.parametrize("pack", [zipped, tarred], ids=["zip", "tar.gz"])


@pytest.mark.parametrize("pack", [zipped, tarred, plain_tar], ids=["zip", "tar.gz", "tar"])
def test_what_matters_is_read_and_the_commit_is_known(pack: Pack) -> None:
    packed = pack(FILES, COMMIT)
    assert is_archive(packed)
    assert read_archive(packed, "x") == ({"a/Thing/schema.json": b"{}"}, COMMIT)
    assert read_archive(pack(FILES, "not a commit"), "x")[1] == ""


@both
@pytest.mark.parametrize(
    "path", ["../schema.json", "a/../../schema.json", "/etc/schema.json", "C:/schema.json", "..\\schema.json"]
)
def test_a_path_that_leads_out_of_the_archive_is_refused(pack: Pack, path: str) -> None:
    with pytest.raises(DataModelError, match=r"x is refused: it holds the path .* which leads out of it"):
        read_archive(pack({path: b"{}"}), "x")


def test_links_and_devices_are_not_followed() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, kind in (("a.json", tarfile.SYMTYPE), ("b.json", tarfile.LNKTYPE), ("c.json", tarfile.CHRTYPE)):
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    assert read_archive(packed.getvalue(), "x")[0] == {}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zip_archive:
        link = zipfile.ZipInfo("a.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zip_archive.writestr(link, "/etc/passwd")
    assert read_archive(packed.getvalue(), "x")[0] == {}


@both
@pytest.mark.parametrize(
    ("limit", "most", "message"),
    [
        ("LARGEST_FILE", 1000, "has a file of more than"),
        ("LARGEST_TREE", 1500, "has more than"),
        ("MOST_FILES", 2, "has more than 2 files"),
    ],
)
def test_past_a_limit_an_archive_is_refused(
    pack: Pack, limit: str, most: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, limit, most)
    size = 2000 if limit == "LARGEST_FILE" else 600
    with pytest.raises(DataModelError, match=f"x is refused: it {message}"):
        read_archive(pack({f"{name}.json": b" " * size for name in "abc"}), "x")


def test_a_compressed_archive_is_not_unpacked_past_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LARGEST_UNPACKED", 1_000_000)
    with pytest.raises(DataModelError, match="x is refused: it unpacks to more than"):
        read_archive(tarred({"zeros.bin": b"\0" * 5_000_000}), "x")


@pytest.mark.parametrize("damage", [lambda packed: packed[:60], lambda packed: packed[:4] + b"\xff" * 40 + packed[44:]])
@both
def test_a_damaged_archive_is_refused(pack: Pack, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DataModelError, match="x cannot be read as an archive: "):
        read_archive(damage(pack(FILES)), "x")


def test_an_encrypted_archive_is_refused() -> None:
    packed = bytearray(zipped({"schema.json": b"{}"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + offset] |= 1
    with pytest.raises(DataModelError, match=r"cannot be read as an archive: .*encrypted"):
        read_archive(bytes(packed), "x")


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b"x" * 600])
def test_what_is_no_archive_is_known(content: bytes) -> None:
    assert not is_archive(content)
