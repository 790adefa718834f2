"""What a setting is: its kind, its bounds, and how its text becomes a value. The settings themselves: `settings.py`."""

import ipaddress
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "VELA_"
KIB, MIB = 1024, 1024 * 1024
_LISTS = ("list", "networks", "hosts")
_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_SIZE_UNITS = {"b": 1, "kib": KIB, "mib": MIB, "gib": 1024 * MIB, "kb": 1000, "mb": 1000**2, "gb": 1000**3}


class SettingsError(ValueError):
    """A setting has a value that Vela cannot use; the text names the setting, what was found and what is expected."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    `kind` is one of text, integer, seconds, bytes, path, choice, switch, list, networks, hosts. `lowest` and `highest`
    bound numbers (inclusive). A setting whose default is None is optional.
    """

    name: str
    kind: str
    default: Any
    help: str
    section: str
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable, such as VELA_MONGO_URI."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The command line flag, such as --mongo-uri."""
        return "--" + self.name.replace("_", "-")

    @property
    def expected(self) -> str:
        """What a value of this setting looks like, for error texts and the reference."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        what = {
            "integer": "a whole number",
            "seconds": "a number of seconds",
            "bytes": "a number of bytes, or a size such as 512KiB or 16MiB",
            "networks": "networks or addresses separated by commas, such as 10.0.0.0/8,192.168.1.7 (or none)",
            "hosts": "networks, addresses or host names separated by commas, such as 10.0.0.0/8,camera.local (or none)",
            "list": "values separated by commas",
            "path": "a path",
            "switch": "true or false",
            "text": "a text",
        }[self.kind]
        if self.lowest is not None and self.highest is not None:
            what += f", from {_number(self.lowest)} to {_number(self.highest)}"
        elif self.lowest is not None:
            what += f", {_number(self.lowest)} or more"
        return what

    def parse(self, text: str, origin: str) -> Any:
        """The value that `text` stands for; `origin` (a flag or variable) names it in the SettingsError."""
        try:
            value = self._read(text.strip())
        except ValueError:
            raise self._refusal(origin, text) from None
        if not self._acceptable(value):
            raise self._refusal(origin, text)
        return value

    def check(self, value: Any) -> None:
        """Raise SettingsError unless `value` (already typed) is within the bounds of this setting."""
        if value is None and self.default is None:
            return
        if value is None or not self._acceptable(value):
            raise self._refusal(self.name, value)

    def text(self, value: Any) -> str:
        """`value` as a text that `parse` reads back as an equal value."""
        if self.kind in _LISTS:
            return ",".join(value) or "none"
        if self.kind == "switch":
            return "true" if value else "false"
        return "" if value is None else str(value)

    def shown(self, value: Any) -> str:
        """`value` for people: sizes with their unit, lists as text."""
        if value is None or value == ():
            return ""
        if self.kind == "bytes":
            units = (("MiB", MIB), ("KiB", KIB))
            return next((f"{value // size}{unit}" for unit, size in units if value and value % size == 0), str(value))
        if self.kind == "seconds":
            return f"{value:.15g}s"
        if self.kind in _LISTS:
            return ", ".join(value)
        return self.text(value)

    def _read(self, text: str) -> Any:
        match self.kind:
            case "integer":
                return int(text)
            case "seconds":
                return float(text.removesuffix("s"))
            case "bytes":
                return _size(text)
            case "path":
                return Path(text)
            case "switch":
                return _SWITCHES.get(text.lower(), text)
            case "list" | "networks" | "hosts":
                return () if text == "none" else tuple(part.strip() for part in text.split(",") if part.strip())
            case _:
                return text

    def _acceptable(self, value: Any) -> bool:
        if self.kind == "choice":
            return value in self.choices
        if self.kind == "switch":
            return isinstance(value, bool)
        if self.kind == "hosts":
            return not any(mark in item for item in value if not _is_network(item) for mark in " /:")
        if self.kind == "networks":
            return all(_is_network(item) for item in value)
        if self.kind in ("integer", "bytes", "seconds"):
            lowest = -math.inf if self.lowest is None else self.lowest
            highest = math.inf if self.highest is None else self.highest
            return bool(math.isfinite(value) and lowest <= value <= highest)
        return True

    def _refusal(self, origin: str, found: object) -> SettingsError:
        hint = ""
        if self.name == "port" and str(found).startswith("tcp://"):
            hint = " Kubernetes sets this variable for a Service named vela: set enableServiceLinks: false in the pod."
        return SettingsError(f"{origin} is {str(found)!r}; expected {self.expected}.{hint}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else str(value)


def _size(text: str) -> int:
    digits = text.rstrip("bBkKiImMgG ")
    unit = text[len(digits) :].strip().lower() or "b"
    if unit not in _SIZE_UNITS:
        raise ValueError(text)
    return int(float(digits) * _SIZE_UNITS[unit]) if unit != "b" else int(digits)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
