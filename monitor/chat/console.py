"""The terminal as a channel: labels in a margin, the severity in colour, wrapped to the width; plain text in a pipe."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor.chat import Settings
from monitor.markup import MARGIN, plain, rows_of, title_of
from monitor.model import DeliveryError, Message

NEEDS = ("rich",)
COLOURS = {"critical": "bold white on red", "warning": "bold yellow", "info": "bold cyan"}
NARROWEST = 40


def rendered(message: Message, width: int, colours: bool) -> str:
    """The message for a terminal of ``width`` columns; a long text is wrapped under its own beginning."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=max(width, NARROWEST),
        force_terminal=colours,
        no_color=not colours,
        color_system="standard" if colours else None,
        highlight=False,
        emoji=False,
        markup=False,
    )
    style = COLOURS["info"] if message.kind == "resolved" else COLOURS[message.severity]
    console.print(Text(title_of(message), style=style))
    table = Table.grid(padding=(0, 1))
    table.add_column(width=MARGIN + 1, overflow="fold", style="dim")
    table.add_column(ratio=1, overflow="fold")
    for label, text in rows_of(message.lines):
        table.add_row(Text(f"  {label}"), Text(text))
    console.print(table)
    return buffer.getvalue()


class ConsoleChannel:
    """Prints messages to a stream, standard output unless said."""

    name = "console"

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream
        self._count = 0

    async def send(self, message: Message) -> str:
        """Print the message. A closed pipe is said (kind retry): nothing counts as sent that nobody could read."""
        stream = self._stream or sys.stdout
        try:
            text = f"{plain(message)}\n"
            if stream.isatty():
                text = rendered(message, Console(file=stream).width, colours=not Console(file=stream).no_color)
            stream.write(_encodable(text, stream.encoding) + "\n")
            stream.flush()
        except (OSError, ValueError) as error:  # ValueError: the stream was closed on our side
            raise DeliveryError(f"console: the output is closed ({error})", "retry") from error
        self._count += 1
        return f"console-{self._count}"

    async def close(self) -> None:
        """Nothing to give back: the stream belongs to the terminal."""


def _encodable(text: str, encoding: str | None) -> str:
    """Characters the terminal cannot show become ``?`` instead of an error."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding, "replace")


def open_channel(settings: Settings) -> ConsoleChannel:
    """The terminal; it needs no settings."""
    del settings
    return ConsoleChannel()
