"""One table: every setting of Vela, its type, its default, its help.

`Settings` is the table: each field is one setting, with its default and help beside it. The environment variables
(`VELA_` + the name in capitals), the flags (`--` + the name with dashes), `vela settings`, docs/configuration.md and
docs/cli.md are derived from it. A flag beats the environment, the environment beats the default.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from broker.env_file import read_env_file
from broker.setting import KIB, MIB, PREFIX, Setting, SettingsError

RESERVED_PREFIXES = ("VELA_TEST_", "VELA_FAULT_", "VELA_SERVICE_", "VELA_PORT_")
"""Prefixes of variables that are no settings: the tests' own, and what Kubernetes adds for a Service named vela."""

_ALIAS = re.compile(r"[A-Za-z0-9._\-]{1,100}")
"""Less than a pseudonym of RFC 7230 may have: the tenant follows behind a tilde."""

EXPOSED_HEADERS = (
    *("Allow", "Link", "Location", "NGSILD-EntityMap", "NGSILD-Results-Count", "NGSILD-Snapshot"),
    *("NGSILD-Tenant", "NGSILD-Warning"),
    *("Preference-Applied", "Retry-After"),
)
"""Headers of the API that a browser would hide from its pages."""

CLOUD_METADATA = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32")
"""Link-local networks and the addresses at which cloud providers serve credentials."""


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
    workers: int | None = _setting(None, "integer", "Server",
        "Worker processes that share the port. Empty: one for each core that the broker may use, but no more than one "
        "for each 512MiB of memory.", lowest=1, highest=256)
    env_file: Path | None = _setting(None, "path", "Server",
        "File of VELA_… variables, one NAME=value a line, that take the place of those of the environment. It is read "
        "again when SIGHUP asks for a rolling restart.")
    max_body_bytes: int = _setting(16 * MIB, "bytes", "Server",
        "Largest request body; a larger one is answered 413.", lowest=KIB)
    max_connections: int = _setting(10_000, "integer", "Server",
        "Connections of clients, per worker, but no more than half of the files that the system lets a process open. "
        "A further one is answered 503 and closed.", lowest=10)
    max_pending_bytes: int = _setting(64 * MIB, "bytes", "Server",
        "Bytes of request bodies that may be under way, per worker; past it, requests are answered 503 with "
        "Retry-After.", lowest=KIB)
    max_batch: int = _setting(10_000, "integer", "Server",
        "Most elements in one batch operation; a larger one is answered 413.", lowest=1)
    cors_origins: tuple[str, ...] = _setting((), "list", "Server",
        "Origins that may call from a browser, separated by commas, or *. Empty: none.")
    cors_exposed_headers: tuple[str, ...] = _setting(EXPOSED_HEADERS, "list", "Server",
        "Headers of answers that pages of these origins may read.")
    compress_bytes: int = _setting(32 * KIB, "bytes", "Server",
        "Size from which an answer is packed (gzip or deflate) for clients that accept it. 0 packs none.", lowest=0)
    source_alias: str | None = _setting(None, "text", "Server",
        "The name by which other brokers know this one (contextSourceAlias): letters, digits and -._ in it. "
        "Empty: one that is made up at the first start and kept in the database.")
    public_url: str | None = _setting(None, "text", "Server",
        "How clients reach this broker, such as https://broker.example.org, for links to @contexts that it hosts. "
        "Empty: the host that the client used.")
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
    mongod_cache_bytes: int | None = _setting(None, "bytes", "Database",
        "Memory that the private MongoDB may use as its cache. Empty: a quarter of the machine's.", lowest=256 * MIB)

    max_queue: int = _setting(10_000, "integer", "Writing",
        "Updates that may wait for their commit; past it, writes are answered 503 with Retry-After.", lowest=1)
    max_wait: float = _setting(5.0, "seconds", "Writing",
        "How long an update may be expected to wait for its commit, or any request for its turn, by the present pace; "
        "past it, requests are answered 503 with Retry-After. A hundred or two may wait in any case.", lowest=0.01)
    group_max: int = _setting(1_000, "integer", "Writing",
        "Most updates in one commit group.", lowest=1)
    group_bytes: int = _setting(8 * MIB, "bytes", "Writing",
        "Most bytes in one commit group.", lowest=KIB)
    groups_in_flight: int = _setting(3, "integer", "Writing",
        "Commit groups that may be under way at once.", lowest=1, highest=64)
    group_eager: int = _setting(20, "integer", "Writing",
        "Updates that must wait before a further group starts while one is under way.", lowest=1)
    cache_bytes: int = _setting(64 * MIB, "bytes", "Writing",
        "Memory for entities kept between commits, per worker. 0 keeps none.", lowest=0)
    expiry_sweep_interval: float = _setting(2.0, "seconds", "Writing",
        "How long what has expired may stay in storage. No answer shows it from the moment of its expiresAt on.",
        lowest=0.05)

    query_limit_default: int = _setting(20, "integer", "Reading",
        "Entities in one page when a query gives no limit.", lowest=1)
    query_limit_max: int = _setting(1_000, "integer", "Reading",
        "Largest limit that a query may give.", lowest=1)
    query_scan_max: int = _setting(200_000, "integer", "Reading",
        "Entities that one query may look at one by one, where an index cannot sort or compare them.", lowest=1_000)
    linked_entities_max: int = _setting(5_000, "integer", "Reading",
        "Most linked entities in one answer; a join that would retrieve more is refused.", lowest=1)
    read_cache_bytes: int = _setting(64 * MIB, "bytes", "Reading",
        "Memory for entities kept as they were answered, per worker. 0 keeps none.", lowest=0)
    slow_query: float = _setting(0.5, "seconds", "Reading",
        "Time from which a query is counted as slow, and may be looked into (docs/queries.md). 0 looks into none.",
        lowest=0)
    slow_query_interval: float = _setting(10.0, "seconds", "Reading",
        "One slow query in this time is looked into at most: MongoDB runs it again to explain it.", lowest=0.1)

    entity_map_lifetime: float = _setting(3_600.0, "seconds", "Entity maps and snapshots",
        "How long an entity map lives whose request says nothing of it.", lowest=1)
    entity_map_lifetime_max: float = _setting(86_400.0, "seconds", "Entity maps and snapshots",
        "The longest lifetime that a client can have for an entity map.", lowest=1)
    snapshot_lifetime: float = _setting(86_400.0, "seconds", "Entity maps and snapshots",
        "How long a snapshot lives that says nothing of it.", lowest=1)
    snapshot_lifetime_max: float = _setting(7 * 86_400.0, "seconds", "Entity maps and snapshots",
        "The longest lifetime that a client can have for a snapshot.", lowest=1)
    snapshots_max: int = _setting(100, "integer", "Entity maps and snapshots",
        "Snapshots that a tenant may have. A further one takes the place of one that is not more important.", lowest=1)

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
    notification_timeout_max: float = _setting(60.0, "seconds", "Notifications",
        "Longest time that a subscription may give its endpoint to answer; what it asks for beyond is cut.",
        lowest=0.01)
    notification_connections: int = _setting(500, "integer", "Notifications",
        "Notifications on their way at once, and MQTT connections kept, per worker.", lowest=1, highest=900)
    notification_ca_file: Path | None = _setting(None, "path", "Notifications",
        "PEM file of CA certificates to trust beside the system's, for endpoints with https and mqtts.")
    notification_ca_dir: Path | None = _setting(None, "path", "Notifications",
        "Folder of PEM files of CA certificates that a subscription may name (TLS-CA-File in its notifierInfo).")
    notification_queue: int = _setting(10_000, "integer", "Notifications",
        "Notifications kept in memory per endpoint; the rest wait in the database.", lowest=1)
    notification_retries: int = _setting(5, "integer", "Notifications",
        "Further attempts after a failed delivery before the endpoint is given a rest.", lowest=0)
    notification_backoff: float = _setting(0.5, "seconds", "Notifications",
        "Wait before the first further attempt; it doubles with each one, with jitter.", lowest=0.01)
    notification_max_age: float = _setting(86_400.0, "seconds", "Notifications",
        "Age at which an undelivered notification is given up and counted as failed.", lowest=1)
    notification_backlog: int = _setting(1_000_000, "integer", "Notifications",
        "Notifications that may wait for one endpoint, per worker; further ones are given up and counted as failed.",
        lowest=1, highest=10_000_000)

    outbound_allow: tuple[str, ...] = _setting((), "hosts", "Outbound requests",
        "Networks and host names that requests of the broker may always go to, even inside a denied network.")
    outbound_deny: tuple[str, ...] = _setting(CLOUD_METADATA, "networks", "Outbound requests",
        "Networks that requests of the broker never go to. 0.0.0.0/0,::/0 leaves only the allowed ones.")

    validation_default: str = _setting("warn", "choice", "Validation",
        "What happens to an update that breaks the schema of its type, unless the type has a policy of its own.",
        choices=("enforce", "warn", "off"))
    validation_zoneless: bool = _setting(False, "switch", "Validation",
        "Whether schemas that ask for a date and time accept one without a zone, which is taken as UTC.")
    # fmt: on

    def __post_init__(self) -> None:
        for setting in SETTINGS:
            setting.check(getattr(self, setting.name))
        if self.query_limit_default > self.query_limit_max:
            raise SettingsError(
                f"query_limit_default is {self.query_limit_default}; "
                f"expected at most query_limit_max, which is {self.query_limit_max}."
            )
        if self.source_alias is not None and _ALIAS.fullmatch(self.source_alias) is None:
            raise SettingsError(
                f"source_alias is {self.source_alias!r}; expected 1 to 100 letters, digits and -._ only."
            )
        if self.public_url is not None and not self.public_url.startswith(("http://", "https://")):
            raise SettingsError(
                f"public_url is {self.public_url!r}; expected a URL such as https://broker.example.org."
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

        An empty environment variable counts as not given; the variables of the file that env_file names go before
        those of `environment`. Raises SettingsError.
        """
        environment = variables(environment, flags)
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


def variables(
    environment: Mapping[str, str] = os.environ, flags: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """The environment variables that count: those of the file that env_file names go before the others.

    Raises SettingsError where the file cannot be read.
    """
    setting = next(one for one in SETTINGS if one.name == "env_file")
    flag = (flags or {}).get(setting.name)
    file = environment.get(setting.variable, "").strip() if flag is None else flag
    return {**environment, **(read_env_file(Path(file)) if file else {})}


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
