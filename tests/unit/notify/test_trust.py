import os
from pathlib import Path

import pytest
import trustme

from broker.notify.trust import Trust, UntrustworthyError


def write_ca(path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(path))


def test_a_named_file_is_all_that_is_trusted(tmp_path: Path) -> None:
    write_ca(tmp_path / "city.pem")
    trust = Trust(ca_folder=tmp_path)
    assert trust.context("city.pem").cert_store_stats()["x509_ca"] == 1
    assert trust.context("city.pem") is trust.context("city.pem")


def test_the_file_of_the_operator_is_trusted_beside_those_of_the_system(tmp_path: Path) -> None:
    write_ca(tmp_path / "ca.pem")
    alone = Trust().context().cert_store_stats()["x509_ca"]
    assert Trust(tmp_path / "ca.pem").context().cert_store_stats()["x509_ca"] == alone + 1


def test_a_file_that_was_replaced_counts_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "city.pem"
    write_ca(path)
    trust = Trust(ca_folder=tmp_path)
    before = trust.context("city.pem")
    write_ca(path)
    os.utime(path, ns=(1, 1))
    assert trust.context("city.pem").get_ca_certs() != before.get_ca_certs()


@pytest.mark.parametrize(
    "name", ["../secret.pem", "/etc/ssl/cert.pem", "..", "", ".hidden", "a/b.pem", "a\\b", "x" * 101]
)
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    write_ca(tmp_path / "secret.pem")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UntrustworthyError, match="plain name"):
        Trust(ca_folder=tmp_path / "folder").context(name)


def test_what_cannot_be_used_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    (tmp_path / "folder.pem").mkdir()
    trust = Trust(ca_folder=tmp_path)
    for name, reason in (("absent.pem", "does not exist"), ("empty.pem", "PEM"), ("folder.pem", "PEM")):
        with pytest.raises(UntrustworthyError, match=reason) as caught:
            trust.context(name)
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(UntrustworthyError, match="VELA_NOTIFICATION_CA_DIR"):
        Trust().context("city.pem")
