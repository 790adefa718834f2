"""What is seen while the replay runs: a bar with a rolling line on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Display(Protocol):
    """Shows progress and notifications; used as a context manager."""

    def advance(self) -> None:
        """One more update was acknowledged."""

    def notified(self, line: str) -> None:
        """A notification arrived."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to show."""


def display_on(console: Console, total: int) -> Display:
    """The display that suits the console, for `total` updates."""
    return _TerminalDisplay(console, total) if console.is_terminal else _PlainDisplay(console, total)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


class _TerminalDisplay:
    def __init__(self, console: Console, total: int) -> None:
        self._progress = Progress(
            TextColumn("Replaying"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("", total=total)
        self._line = Text()
        self._notifications = 0
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=8)

    def advance(self) -> None:
        self._progress.advance(self._task)

    def notified(self, line: str) -> None:
        self._notifications += 1
        self._line = Text(f"{self._notifications:>4} ▸ {line}", overflow="ellipsis", no_wrap=True)

    def _render(self) -> RenderableType:
        return Group(self._progress, self._line)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class _PlainDisplay:
    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0

    def advance(self) -> None:
        self._done += 1
        if self._done * 10 // self._total > (self._done - 1) * 10 // self._total:
            self._say(f"{self._done:,} of {self._total:,} updates acknowledged")

    def notified(self, line: str) -> None:
        self._say(f"notification: {line}")

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to tidy up: every line stands for itself."""
