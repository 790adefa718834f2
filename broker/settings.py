"""One table: every setting of Vela, its type, its default, its help.

`Settings` is the table: each field is one setting, with its default and help beside it. The environment variables
(`VELA_` + the name in capitals), the flags (`--` + the name with dashes), `vela settings`, docs/configuration.md and
docs/cli.md are derived from it. A flag beats the environment, the environment beats the default.
"""

import difflib
import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "VELA_"
RESERVED_PREFIXES = ("VELA_TEST_", "VELA_FAULT_", "VELA_SERVICE_", "VELA_PORT_")
"""Prefixes of variables that are no settings: the tests' own, and what Kubernetes adds for a Service named vela."""

LISTS = ("list", "networks", "hosts")
KIB, MIB = 1024, 1024 * 1024
SIZE_UNITS = {"b": 1, "kib": KIB, "mib": MIB, "gib": 1024 * MIB, "kb": 1000, "mb": 1000**2, "gb": 1000**3}

CLOUD_METADATA = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32")
"""Link-local networks and the addresses at which cloud providers serve credentials."""


class SettingsError(ValueError):
    """A setting has a value that Vela cannot use; the text names the setting, what was found and what is expected."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    `kind` is one of text, integer, seconds, bytes, path, choice, list, networks, hosts. `lowest` and `highest` bound
    numbers (inclusive). A setting whose default is None is optional.
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
        if self.kind in LISTS:
            return ",".join(value) or "none"
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
        if self.kind in LISTS:
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
            case "list" | "networks" | "hosts":
                return () if text == "none" else tuple(part.strip() for part in text.split(",") if part.strip())
            case _:
                return text

    def _acceptable(self, value: Any) -> bool:
        if self.kind == "choice":
            return value in self.choices
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
    if unit not in SIZE_UNITS:
        raise ValueError(text)
    return int(float(digits) * SIZE_UNITS[unit]) if unit != "b" else int(digits)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _setting(default: Any, kind: str, section: str, help_: str, **bounds: Any) -> Any:
    return field(default=default, metadata={"kind": kind, "section": section, "help": help_, **bounds})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one broker. Construct it with keywords, or with `Settings.load` from environment and flags."""

    # fmt: off
    host: str = _setting("0.0.0.0", "text", "Server",  # noqa: S104 (a server in a container listens on all addresses)
        "Address to listen on.")
    port: int = _setting(1026, "integer", "Server",
        "TCP port to listen on. 0 takes any free port.", lowest=0, highest=65535)
    workers: int = _setting(1, "integer", "Server",
        "Broker processes that share the port. One serves in the process itself.", lowest=1, highest=256)
    max_body_bytes: int = _setting(16 * MIB, "bytes", "Server",
        "Largest request body; a larger one is answered 413.", lowest=KIB)
    cors_origins: tuple[str, ...] = _setting((), "list", "Server",
        "Origins that may call from a browser, separated by commas, or *. Empty: none.")
    drain_timeout: float = _setting(10.0, "seconds", "Server",
        "How long requests, commits and notifications under way may take to end after SIGTERM or Ctrl-C.", lowest=0)
    log_level: str = _setting("info", "choice", "Server",
        "Least severity that is logged.", choices=("debug", "info", "warning", "error"))
    log_format: str | None = _setting(None, "choice", "Server",
        "One event per line, for people or for machines. Empty: console on a terminal, else json.",
        choices=("console", "json"))

    mongo_uri: str | None = _setting(None, "text", "Database",
        "MongoDB replica set to keep everything in (MongoDB 5 or later). Empty: a private one in the data folder.")
    mongo_driver: str = _setting("pymongo", "choice", "Database",
        "Driver: PyMongo's asyncio API, or Motor (extra `motor`, end of life, about half as fast).",
        choices=("pymongo", "motor"))
    database: str = _setting("vela", "text", "Database",
        "Name of the database of the default tenant, and prefix of the names of all others.")
    data_dir: Path = _setting(Path("var"), "path", "Database",
        "Folder of the private MongoDB that serves when no MongoDB is given.")
    mongod: Path | None = _setting(None, "path", "Database",
        "The mongod program for the private MongoDB. Empty: the one on PATH, else that of the extra `embedded`.")
    mongod_cache_bytes: int = _setting(512 * MIB, "bytes", "Database",
        "Memory that the private MongoDB may use as its cache.", lowest=256 * MIB)

    max_queue: int = _setting(10_000, "integer", "Writing",
        "Updates that may wait for their commit; past it, writes are answered 503 with Retry-After.", lowest=1)
    group_max: int = _setting(1_000, "integer", "Writing",
        "Most updates in one commit group.", lowest=1)
    group_bytes: int = _setting(8 * MIB, "bytes", "Writing",
        "Most bytes in one commit group.", lowest=KIB)
    groups_in_flight: int = _setting(2, "integer", "Writing",
        "Commit groups that may be under way at once.", lowest=1, highest=64)
    group_eager: int = _setting(20, "integer", "Writing",
        "Updates that must wait before a further group starts while one is under way.", lowest=1)
    cache_bytes: int = _setting(64 * MIB, "bytes", "Writing",
        "Memory for entities kept between commits, per worker. 0 keeps none.", lowest=0)

    query_limit_default: int = _setting(20, "integer", "Reading",
        "Entities in one page when a query gives no limit.", lowest=1)
    query_limit_max: int = _setting(1_000, "integer", "Reading",
        "Largest limit that a query may give.", lowest=1)

    contexts_dir: Path | None = _setting(None, "path", "JSON-LD contexts",
        "Folder with an index.json of {URL: file}: @contexts that are known without a download.")
    context_timeout: float = _setting(5.0, "seconds", "JSON-LD contexts",
        "How long the download of an @context may take.", lowest=0.01)
    context_max_bytes: int = _setting(4 * MIB, "bytes", "JSON-LD contexts",
        "Largest @context that is downloaded.", lowest=KIB)
    context_max_redirects: int = _setting(5, "integer", "JSON-LD contexts",
        "Redirects followed in one download of an @context.", lowest=0, highest=20)
    context_cache_entries: int = _setting(1_000, "integer", "JSON-LD contexts",
        "Compiled @contexts kept in memory, per worker.", lowest=1)

    notification_timeout: float = _setting(5.0, "seconds", "Notifications",
        "How long an endpoint may take to answer, unless its subscription says otherwise.", lowest=0.01)
    notification_queue: int = _setting(10_000, "integer", "Notifications",
        "Notifications kept in memory per endpoint; the rest wait in the database.", lowest=1)
    notification_retries: int = _setting(5, "integer", "Notifications",
        "Further attempts after a failed delivery before the endpoint is given a rest.", lowest=0)
    notification_backoff: float = _setting(0.5, "seconds", "Notifications",
        "Wait before the first further attempt; it doubles with each one, with jitter.", lowest=0.01)
    notification_max_age: float = _setting(86_400.0, "seconds", "Notifications",
        "Age at which an undelivered notification is given up and counted as failed.", lowest=1)

    outbound_allow: tuple[str, ...] = _setting((), "hosts", "Outbound requests",
        "Networks and host names that requests of the broker may always go to, even inside a denied network.")
    outbound_deny: tuple[str, ...] = _setting(CLOUD_METADATA, "networks", "Outbound requests",
        "Networks that requests of the broker never go to. 0.0.0.0/0,::/0 leaves only the allowed ones.")

    validation_default: str = _setting("warn", "choice", "Validation",
        "What happens to an update that breaks the schema of its type, unless the type says otherwise.",
        choices=("enforce", "warn", "off"))
    validation_policies: str = _setting("", "text", "Validation",
        "What happens for single types, as [TENANT@]TYPE=POLICY,… such as OffStreetParking=enforce.")
    # fmt: on

    def __post_init__(self) -> None:
        for setting in SETTINGS:
            setting.check(getattr(self, setting.name))
        if self.query_limit_default > self.query_limit_max:
            raise SettingsError(
                f"query_limit_default is {self.query_limit_default}; "
                f"expected at most query_limit_max, which is {self.query_limit_max}."
            )
        if self.mongo_uri is not None and not self.mongo_uri.startswith(("mongodb://", "mongodb+srv://")):
            raise SettingsError(
                f"mongo_uri starts with {self.mongo_uri.split(':')[0]!r}; expected a MongoDB connection string, "
                "such as mongodb://db1,db2,db3/?replicaSet=rs0."
            )

    @classmethod
    def load(
        cls, environment: Mapping[str, str] = os.environ, flags: Mapping[str, str | None] | None = None
    ) -> "Settings":
        """The settings that `environment` and `flags` (setting name → text, None where not given) ask for.

        An empty environment variable counts as not given. Raises SettingsError.
        """
        values: dict[str, Any] = {}
        for setting in SETTINGS:
            flag = (flags or {}).get(setting.name)
            variable = environment.get(setting.variable, "")
            if flag is not None:
                values[setting.name] = _optional(setting, flag, setting.flag)
            elif variable.strip():
                values[setting.name] = setting.parse(variable, setting.variable)
        return cls(**values)

    def environment(self) -> dict[str, str]:
        """These settings as environment variables: `Settings.load` makes equal settings of them."""
        return {setting.variable: setting.text(getattr(self, setting.name)) for setting in SETTINGS}


def _optional(setting: Setting, text: str, origin: str) -> Any:
    if text == "" and setting.default in (None, ()):
        return setting.default
    return setting.parse(text, origin)


def _row(entry: Field[Any]) -> Setting:
    assert entry.default is not MISSING
    metadata = dict(entry.metadata)
    return Setting(
        name=entry.name,
        kind=metadata.pop("kind"),
        default=entry.default,
        help=metadata.pop("help"),
        section=metadata.pop("section"),
        **metadata,
    )


SETTINGS: tuple[Setting, ...] = tuple(_row(entry) for entry in fields(Settings))
"""All settings, in the order of the reference."""


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """One sentence for each VELA_* variable that is no setting, so that a typing error does not pass in silence."""
    known = {setting.variable for setting in SETTINGS}
    sentences = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not name.startswith(RESERVED_PREFIXES):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "see `vela settings` for those that exist."
            sentences.append(f"{name} is no setting and has no effect; {hint}")
    return sentences
