"""What workers are started with: the settings of flags, file and environment, read again for each rolling restart."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from broker.setting import SettingsError
from broker.settings import SETTINGS, Settings, variables

AT_START_ONLY = ("host", "port", "data_dir", "mongod", "mongod_cache_bytes")
"""Settings of what stays while workers are replaced: the sockets and the private MongoDB."""


@dataclass(frozen=True, slots=True)
class Launch:
    """The settings of workers, and how they get them: environment variables, and flags that beat these.

    The flags are handed on as they were given, so that a worker of newer code has its own defaults.
    """

    settings: Settings
    environment: Mapping[str, str]
    flags: tuple[str, ...]

    def over(self, mongo_uri: str) -> "Launch":
        """The same, with this MongoDB."""
        return Launch(
            replace(self.settings, mongo_uri=mongo_uri),
            {**self.environment, "VELA_MONGO_URI": mongo_uri},
            tuple(flag for flag in self.flags if not flag.startswith("--mongo-uri=")),
        )


class Configuration:
    """Where the settings of one broker come from. `flags` are setting name → text, None where not given."""

    def __init__(self, flags: Mapping[str, str | None]) -> None:
        self._flags = flags
        self._first: Launch | None = None
        self._private = ""

    def read(self) -> Launch:
        """What they say now. Raises SettingsError."""
        settings = Settings.load(flags=self._flags)
        environment = variables(os.environ, self._flags)
        environment.pop("VELA_ENV_FILE", None)
        flags = tuple(
            f"{setting.flag}={text}"
            for setting in SETTINGS
            if setting.name != "env_file" and (text := self._flags.get(setting.name)) is not None
        )
        launch = Launch(settings, environment, flags)
        if self._first is None:
            self._first = launch
        return launch

    def use(self, private_uri: str) -> None:
        """The broker has a private MongoDB, which is here."""
        self._private = private_uri

    def read_again(self) -> tuple[Launch, list[str]]:
        """What they say now, for workers to come, and the names of changed settings that they cannot follow.

        Raises SettingsError.
        """
        launch, first = self.read(), self._first
        assert first is not None
        if (launch.settings.mongo_uri is None) != bool(self._private):
            raise SettingsError("mongo_uri goes from or to the private MongoDB, which takes a restart of the broker.")
        changed = [name for name in AT_START_ONLY if getattr(launch.settings, name) != getattr(first.settings, name)]
        return (launch.over(self._private) if self._private else launch), changed
