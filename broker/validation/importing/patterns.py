r"""Patterns as the Smart Data Models mean them: in the reading of Python, with which their tools check.

There `\w` and `\d` are the letters and digits of all scripts, so that "Straße" is a word. In the reading of
JavaScript, which jsonschema-rs follows, they are those of ASCII. What is written out here means the same to both, but
for one thing: a `$` of Python lets a newline pass at the end, which nobody means.
"""

_WORD = r"_\p{L}\p{N}"
_ALONE = {"w": f"[{_WORD}]", "W": f"[^{_WORD}]", "d": r"\p{Nd}", "D": r"\P{Nd}"}
_IN_CLASS = {"w": _WORD, "d": r"\p{Nd}", "D": r"\P{Nd}"}


def written_out(pattern: str) -> str:
    r"""The pattern with the classes of all scripts in the place of `\w`, `\W`, `\d` and `\D`."""
    parts: list[str] = []
    in_class, steps = False, iter(pattern)
    for character in steps:
        if character == "\\":
            escaped = next(steps, "")
            parts.append((_IN_CLASS if in_class else _ALONE).get(escaped, character + escaped))
            continue
        if character == "[":
            in_class = True
        elif character == "]":
            in_class = False
        parts.append(character)
    return "".join(parts)
