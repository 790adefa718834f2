"""Environment variables from a file, which can change while a broker runs."""

import re
from pathlib import Path

from broker.setting import SettingsError

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")


def read_env_file(file: Path) -> dict[str, str]:
    """The variables of a file of NAME=value lines, with quotes around values or not; # begins a line of comment.

    Raises SettingsError where it cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"The file {file} of env_file cannot be read ({reason}).") from error
    found: dict[str, str] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise SettingsError(f"Line {number} of {file} is {line!r:.80}; expected NAME=value.")
        value = match["value"]
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[match["name"]] = value
    return found
