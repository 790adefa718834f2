"""The `vela` command."""

import asyncio
import importlib
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from broker import __version__
from broker.bundled import bundled
from broker.channel import Wiring, WorkerError
from broker.configuration import Configuration
from broker.crew import CANNOT_START
from broker.listening import ListenError
from broker.local import LocalBroker, LocalBrokerError, is_ready
from broker.setting import SettingsError
from broker.settings import SETTINGS, Settings, unknown_variables, variables
from broker.storage.mongod import EmbeddedMongoError
from broker.supervisor import serve
from broker.telemetry import configure_logging, redact

Command = TypeVar("Command", bound=Callable[..., Any])

PIPED_WIDTH = 160

METAVARS = {
    "integer": "NUMBER",
    "seconds": "SECONDS",
    "bytes": "BYTES",
    "path": "PATH",
    "switch": "true|false",
    "list": "LIST",
    "networks": "NETWORKS",
    "hosts": "HOSTS",
    "text": "TEXT",
}


ELSEWHERE = {
    "contexts": "broker.commands.contexts:contexts_group",
    "datamodels": "broker.commands.datamodels:datamodels_group",
    "explain": "broker.commands.indexes:explain_command",
    "index": "broker.commands.indexes:index_group",
    "subscriptions": "broker.commands.subscriptions:subscriptions_command",
}
"""Commands in modules of their own."""


class LazyGroup(click.Group):
    """A group that loads the commands of `ELSEWHERE` when they are asked for: a supervisor has no use for them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, name = ELSEWHERE[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


class SettingsCommand(click.Command):
    """A command that takes every setting as a flag, shown by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags of each section of the settings table under a heading of their own."""
        sections: dict[str, list[tuple[str, str]]] = {}
        by_name = {setting.name: setting for setting in SETTINGS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                setting = by_name.get(parameter.name or "")
                sections.setdefault(setting.section if setting else "Other", []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


def settings_flags(command: Command) -> Command:
    """Give `command` one flag for each setting."""
    for setting in reversed(SETTINGS):
        default = setting.shown(setting.default)
        command = click.option(
            setting.flag,
            setting.name,
            metavar="|".join(setting.choices) or METAVARS[setting.kind],
            help=setting.help + (f" [{default}]" if default else ""),
        )(command)
    return command


OVERVIEW = """Vela is an NGSI-LD context broker: it keeps the current state of a city's things in MongoDB, checks them
against their schemas, and tells subscribers what changed.

\b
  vela serve                          a broker on port 1026 with a private MongoDB in ./var
  vela serve --mongo-uri mongodb://…  a broker on your MongoDB replica set
  vela demo                           a day of 60 real car parks, replayed
  vela contexts                       the @contexts that a running broker keeps
  vela datamodels                     the schemas of entities: import, check, policies, what breaks them
  vela index, vela explain            indexes for its queries, and which query needs one
  vela subscriptions                  who is subscribed at it, and how delivery goes
  vela settings                       every setting, its value here and where it comes from

Each setting is a flag of `vela serve` and an environment variable: --mongo-uri is VELA_MONGO_URI.
"""
"""The help of the command itself; the backspace tells click to keep the lines that follow."""


@click.group(
    cls=LazyGroup,
    help=OVERVIEW,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="vela")
def vela() -> None:
    """Everything the `vela` command can do."""


@vela.command("serve", cls=SettingsCommand)
@settings_flags
def serve_command(**flags: str | None) -> None:
    """Serve until Ctrl-C or SIGTERM.

    SIGHUP replaces one worker after the other, with new code and settings, without losing a request.

    Answers on http://HOST:PORT/ngsi-ld/v1/, with /health/live, /health/ready and /metrics beside it. Every flag has an
    environment variable, VELA_ and its name in capitals; a flag beats the environment.
    """
    settings = Settings.load(flags=flags)
    configure_logging(settings.log_level, settings.log_format)
    _warn_of_unknown(variables(flags=flags))
    sys.exit(serve(Configuration(flags)))


@vela.command("worker", cls=SettingsCommand, hidden=True)
@click.argument("wiring")
@settings_flags
def worker_command(wiring: str, **flags: str | None) -> None:
    """Serve as a worker of the supervisor that made WIRING."""
    from broker.worker import run_worker  # only the processes that serve load the whole broker

    settings = Settings.load(flags=flags)
    configure_logging(settings.log_level, settings.log_format)
    run_worker(settings, Wiring.parse(wiring))


@vela.command("demo")
@click.option("--broker", "url", metavar="URL", help="Replay to this broker instead of one started here.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the recording.")
@click.option(
    "--speed", type=click.FloatRange(0), default=0.0, metavar="FACTOR", help="Times real time. [as fast as it goes]"
)
@click.option("--agents", type=click.IntRange(1, 256), default=8, show_default=True, help="Agents that send at once.")
@click.option("--limit", type=click.IntRange(1), help="Replay only so many readings.")
@click.option("--record", type=click.Path(path_type=Path), help="Write acknowledged updates and notifications here.")
@click.option("--resilient", is_flag=True, help="Go on through lost connections and answers of 503.")
@click.option(
    "--keep/--no-keep", default=None, help="Keep the broker that was started until Ctrl-C. [on a terminal: keep]"
)
def demo_command(
    url: str | None,
    *,
    data: Path | None,
    speed: float,
    agents: int,
    limit: int | None,
    record: Path | None,
    resilient: bool,
    keep: bool | None,
) -> None:
    """Replay a day of 60 real car parks.

    Subscribes to the nearly full ones, sends the day's readings, and ends with a summary.

    Without --broker it uses the broker that answers on VELA_PORT (1026), or starts one over the private MongoDB in
    VELA_DATA_DIR (./var) for as long as the demo lasts.
    """
    from broker.demo import run

    settings = Settings.load()
    local: LocalBroker | None = None
    if url is None:
        url = f"http://127.0.0.1:{settings.port}"
        if not is_ready("127.0.0.1", settings.port):
            local = LocalBroker(settings, settings.data_dir / "broker.log")
            click.echo(f"Starting a broker on port {settings.port}; its log is {local.log_file}.")
    try:
        if local is not None:
            local.start()
        folder = data if data is not None else bundled("examples") / "german-parking"
        status = asyncio.run(
            run(
                url.rstrip("/"),
                data=folder,
                speed=speed,
                agents=agents,
                limit=limit,
                record=record,
                resilient=resilient,
            )
        )
        if local is not None and (sys.stdin.isatty() if keep is None else keep):
            _hold(local)
    except KeyboardInterrupt:
        status = 130
    finally:
        if local is not None:
            local.stop()
    sys.exit(status)


def _hold(local: LocalBroker) -> None:
    click.echo(f"\nThe broker keeps answering at {local.url}. Ctrl-C stops it; `vela serve` finds the data again.")
    try:
        if local.process is not None:
            local.process.wait()
    except KeyboardInterrupt:
        click.echo("Stopping the broker.")


@vela.command("settings")
def settings_command() -> None:
    """Show every setting and its value here."""
    from rich.console import Console
    from rich.table import Table

    settings = Settings.load()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("Variable", "Value", "From", "Help"):
        table.add_column(column, overflow="fold", no_wrap=column == "Variable")
    found = variables()
    for setting in SETTINGS:
        text = found.get(setting.variable, "")
        source = "environment" if text == os.environ.get(setting.variable) else "file"
        value = redact(setting.shown(getattr(settings, setting.name)))
        table.add_row(setting.variable, value, source if text.strip() else "default", setting.help)
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
    for sentence in unknown_variables(found):
        click.echo(sentence, err=True)


@vela.command("version")
def version_command() -> None:
    """Show the versions of Vela, Python and the system."""
    click.echo(f"Vela {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")


def _warn_of_unknown(environment: Mapping[str, str]) -> None:
    import structlog

    for sentence in unknown_variables(environment):
        structlog.get_logger("vela").warning(sentence)


def main() -> None:
    """Run the `vela` command; what it cannot do is said in one line on standard error."""
    try:
        vela(prog_name="vela")
    except (SettingsError, EmbeddedMongoError, ListenError, WorkerError, LocalBrokerError) as error:
        click.echo(f"vela: {redact(str(error))}", err=True)
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main()
