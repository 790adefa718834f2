import ast
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from broker.settings import SETTINGS
from scripts.generate_docs import PAGES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WRITTEN_BY_HAND = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_as_the_code_says(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), f"docs/{name} is stale: run `make docs`"


def test_every_setting_is_documented():
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")

    assert [setting.name for setting in SETTINGS if f"`{setting.variable}`" not in page] == []


def test_every_dependency_has_its_reason():
    page = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {re.split(r"[<>=~! ;\[]", requirement)[0] for requirement in requirements}

    assert sorted(name for name in names if f"`{name}`" not in page) == []


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]

    assert missing == []


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_variables_that_are_settings(page):
    named = set(re.findall(r"\bVELA_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))

    of_tests = {"VELA_TEST_MONGO_URI", "VELA_PUBLISHED_PORT", "VELA_FAULT_SEED", "VELA_FAULT_ROUNDS"}
    assert named - {setting.variable for setting in SETTINGS} - of_tests == set()


def test_the_conformance_page_names_modules_and_tests_that_exist():
    page = (DOCS / "conformance.md").read_text(encoding="utf-8")
    layers = [path.name for path in (ROOT / "broker").iterdir() if path.is_dir()]
    tests = {name: ROOT / f"tests/{'unit' if '/' in name else 'integration'}/{name}.py"
             for name in re.findall(r"`((?:[a-z]+/)?test_[a-z0-9_]+)`", page)}  # fmt: skip
    modules = {name: ROOT / f"broker/{name}.py"
               for name in re.findall(rf"`((?:{'|'.join(layers)})/(?!test_)[a-z_/]+)`", page)}  # fmt: skip

    assert len(tests) > 40
    assert len(modules) > 40
    assert [name for name, path in [*tests.items(), *modules.items()] if not path.is_file()] == []


def test_every_package_says_what_lives_in_it():

    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "broker").rglob("__init__.py")
        if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]

    assert silent == []


def test_no_module_of_the_broker_is_longer_than_400_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "broker").rglob("*.py")}

    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 400} == {}
