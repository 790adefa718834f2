"""What commands print: tables for people, JSON for programs."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from broker.commands.client import PIPED_WIDTH


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in `numbers` are aligned to the right. Long texts go on in the next line."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold", justify="right" if column in numbers else "left")
    return made


def show(shown: Table) -> None:
    """Print a table. Its texts are taken as they are: square brackets and ":id:" in them mean nothing."""
    Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH).print(shown)


def as_text(document: Any) -> str:
    """JSON as commands print it."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def moment(timestamp: str | None) -> str:
    """A timestamp to the second; "" for None."""
    return "" if timestamp is None else timestamp[:19] + "Z"


def counted(number: int, one: str, several: str) -> str:
    """`number` and what it counts, such as "1 entity", "2,000 entities"."""
    return f"{number:,} {one if number == 1 else several}"
