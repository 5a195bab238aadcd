"""The channels: one file each, found by walking this folder. A channel sends one message and says what became of it.

A file is a channel when it has ``open_channel(settings) -> Channel``; ``NEEDS`` names the packages it uses only when
opened. A channel that lacks a package is "off because ..." and the others work.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from monitor.config import ChannelConfig, read_secret
from monitor.model import CanaryError, Message


class Channel(Protocol):
    """Somewhere a message can go."""

    @property
    def name(self) -> str:
        """The name a route uses: the file's name."""

    async def send(self, message: Message) -> str:
        """Send one message and return the channel's id for it, or raise DeliveryError saying what may be done next."""

    async def close(self) -> None:
        """Give back what was opened; a closed channel opens again when it is used."""


@runtime_checkable
class Rich(Channel, Protocol):
    """A channel that can answer an earlier message and carry a picture."""

    async def send_rich(self, message: Message, reply_to: str, picture: bytes) -> str:
        """As :meth:`Channel.send`, in reply to an earlier message (the channel's id of it, or empty) and with a PNG (or
        empty bytes). Neither of the two is worth losing the text over.
        """

    async def send_picture(self, message: Message, picture: bytes, reply_to: str) -> None:
        """Send a picture that belongs to an accepted message, once; DeliveryError when it did not arrive."""


@runtime_checkable
class Editor(Channel, Protocol):
    """A channel that can change a message it has sent."""

    async def edit(self, message: Message, sent_as: str) -> None:
        """Let a sent message (the channel's ids of its parts) say this instead. That it says so already is a success.

        DeliveryError: ``dead`` when this message can never be changed, which says nothing about the channel.
        """


#: rows of buttons (label, opaque id) for a message that is about to be sent
Buttons = Callable[[Message], Awaitable[Sequence[Sequence[tuple[str, str]]]]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a channel is opened with. Secrets were read from the environment or a file and never show in a repr.

    ``on_moved(old, new)`` is told when a destination got a new id, so that it can be kept. ``buttons`` gives what may
    be tapped below a message, on channels that have such a thing.
    """

    token: str | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    to: str = ""
    base_url: str | None = None
    on_moved: Callable[[str, str], None] | None = None
    buttons: Buttons | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One file of this folder that is a channel: usable, or ``off`` with the reason."""

    name: str
    file: str
    off: str = ""


def discover() -> dict[str, Found]:
    """Every channel by name, in alphabetical order; nothing is opened.

    >>> found = discover()
    >>> found["console"].off, "pacing" in found
    ('', False)
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {found.name: found for found in map(_find, names) if found}


def _find(name: str) -> Found | None:
    file = f"monitor/chat/{name}.py"
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ImportError as error:
        return Found(name, file, f"off because {error.name or name} cannot be imported: {error.msg}")
    if not hasattr(module, "open_channel"):
        return None  # something the channels share
    missing = [package for package in getattr(module, "NEEDS", ()) if importlib.util.find_spec(package) is None]
    return Found(name, file, f"off because {', '.join(missing)} is not installed" if missing else "")


def open_channel(name: str, settings: Settings) -> Channel:
    """The channel of this name, opened; CanaryError when there is none, it is off, or its settings do not do."""
    found = discover()
    if name not in found:
        raise CanaryError(f"there is no chat channel {name!r}; there are {', '.join(found)}")
    if found[name].off:
        raise CanaryError(f"the chat channel {name} is {found[name].off}")
    channel: Channel = importlib.import_module(f"{__name__}.{name}").open_channel(settings)
    return channel


def settings_of(
    config: ChannelConfig,
    environ: Mapping[str, str],
    base: Path,
    on_moved: Callable[[str, str], None] | None = None,
    buttons: Buttons | None = None,
) -> Settings:
    """A channel's part of the config with its secrets read; CanaryError, without the secret, where one is missing."""
    return Settings(
        token=read_secret(config.token_env, config.token_file, environ, base),
        url=read_secret(config.url_env, config.url_file, environ, base),
        to="" if config.chat is None else str(config.chat),
        base_url=config.base_url,
        on_moved=on_moved,
        buttons=buttons,
    )
