import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from broker.validation.importing.patterns import written_out

PATTERNS = [
    r"^\w+$", r"^[\w\-. ]+$",
    r"^\W$", r"^\d{2}$", r"^[\d.]+$", r"^\D+$", r"^[^\d]+$", r"^[^\w-]+$", r"^[\D]$", r"\\w", r"^\\d$",
    r"^\[\w\]$", r"^[\[\w]+$", r"^([0-9A-Fa-f]{2}[:-]){5}([0-9A-Fa-f]{2})$", r"^[A-Z]{2}$",
]  # fmt: skip
TEXTS = st.text(st.sampled_from("aZ_09ßé\u0663\u4e2d²-. \\wd[]\U0001f697:"), max_size=4)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=TEXTS)
def test_a_pattern_matches_what_it_matches_in_python(pattern: str, text: str) -> None:
    validator = Draft202012Validator({"pattern": written_out(pattern)})
    assert validator.is_valid(text) == (re.search(pattern, text) is not None)


def test_a_pattern_without_classes_of_characters_stays_as_it_is() -> None:
    pattern = r"^--((0[13578]|1[02])-31)\.$"
    assert written_out(pattern) == pattern


def test_a_backslash_at_the_end_stays_for_the_compiler_to_refuse() -> None:
    assert written_out("a\\") == "a\\"
