"""``config.yaml``: when to look, where to look, whom to tell. Strict; secrets appear only as names of where they are.

:func:`find_config` says which file counts and why, :func:`load_config` reads it, :func:`inputs_hash` notices an edit of
anything a user writes, :func:`read_secret` is the only place where a secret is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from monitor.model import CanaryError, InputError, Problem, Severity
from monitor.routes import Quiet, Route
from monitor.starter import starter_root
from monitor.yamltext import Duration, Node, Strict, Text, check, parse_tree, read_file

#: what looks like a bot token, wherever it stands
TOKEN = re.compile(r"\d{6,12}:[\w-]{30,}")
MAX_SECRET_BYTES = 4096
#: a timetable finer than this would hammer free public sources
SHORTEST_EVERY_S = 30.0


# ---------------------------------------------------------------- what a value must look like
def _variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", value):
        raise ValueError(
            "must be the NAME of an environment variable such as CANARY_TELEGRAM_TOKEN, never the secret itself"
        )
    return value


def _secret_path(value: str) -> str:
    if TOKEN.search(value):
        raise ValueError("must be the PATH of a file that holds the secret, never the secret itself")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("must be a web address such as https://host/path, without a user name or password in it")
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError("must start with https:// (plain http is taken only for this machine)")
    return value.rstrip("/")


def _contact(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+", value):
        raise ValueError("must be an e-mail address somebody reads, such as you@your.company")
    return value


def _clock(value: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError(f"{value!r} is not a time of day; write for example 22:00")
    return value


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"{value!r} is not a time zone; write for example UTC or Europe/Zurich")
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
VariableName = Annotated[str, AfterValidator(_variable_name)]
SecretPath = Annotated[str, AfterValidator(_secret_path)]
Url = Annotated[str, AfterValidator(_url)]
Contact = Annotated[str, AfterValidator(_contact)]
Clock = Annotated[str, AfterValidator(_clock)]
Zone = Annotated[str, AfterValidator(_zone)]


# ---------------------------------------------------------------- the sections of the file
class Schedule(Strict):
    """When to evaluate: every so many seconds."""

    every: Duration = Field(default=900.0, ge=SHORTEST_EVERY_S)


class FeedConfig(Strict):
    """One source. A source left out of the file is on with its own defaults.

    ``contact`` is the address a source may write to (the SEC asks for one); a key is only named, never written here.
    """

    enabled: bool = True
    base_url: Url | None = None
    timeout: Duration | None = Field(default=None, gt=0, le=300)
    max_age: Duration | None = Field(default=None, gt=0)
    contact: Contact | None = None
    key_env: VariableName | None = None
    key_file: SecretPath | None = None


class QuietHours(Strict):
    """A daily stretch of local time in which only critical messages are sent; the rest follows in one digest."""

    from_: Clock = Field(alias="from")
    to: Clock
    tz: Zone = "UTC"


class RouteConfig(Strict):
    """Who is told what, through which channel. Empty ``rules`` and ``borrowers`` mean all of them.

    ``to`` left out means the chat named under the channel. ``digest_at`` is a time of day in ``tz``.
    """

    name: Name
    channel: Name
    to: str | int = ""
    severities: tuple[Severity, ...] = Field(default=("critical", "warning", "info"), min_length=1)
    rules: tuple[str, ...] = ()
    borrowers: tuple[str, ...] = ()
    quiet_hours: QuietHours | None = None
    digest_at: Clock = "07:00"
    tz: Zone = "UTC"
    group_by: Literal["borrower", "rule", "none"] = "borrower"
    send_resolved: bool = True
    escalation: bool = False
    #: only borrowers of whom something is held, as portfolio.yaml says
    holdings: bool = False


class PersonConfig(Strict):
    """Somebody who may use the bot: a viewer reads, an operator acknowledges and silences too, an editor also edits."""

    user: int = Field(gt=0)
    role: Literal["viewer", "operator", "editor"] = "viewer"


class ChannelConfig(Strict):
    """One chat channel. The secret itself is never here: only where it is found.

    ``people`` may ask the bot, from one of ``chats`` only; without either, nobody may.
    """

    enabled: bool = True
    token_env: VariableName | None = None
    token_file: SecretPath | None = None
    url_env: VariableName | None = None
    url_file: SecretPath | None = None
    chat: int | str | None = None
    people: tuple[PersonConfig, ...] = ()
    chats: tuple[int, ...] = ()
    base_url: Url | None = None


class Engine(Strict):
    """How much is simulated. The seed is fixed, so that two evaluations of one moment agree."""

    seed: int = Field(default=20240229, ge=0, lt=2**32)
    paths: int = Field(default=4096, ge=256, le=1_048_576)
    #: where `canary large` runs: on this machine, or on the Dask scheduler at an address
    kind: Literal["local", "dask"] = "local"
    scheduler: Annotated[str, StringConstraints(pattern=r"^(tcp|tls)://[\w.:\[\]-]+:\d+$")] | None = None


class PathsText(Strict):
    """Folders as written, relative to the config file."""

    state: str | None = None
    rules: str = "rules"
    book: str = "book"
    scenarios: str = "scenarios"
    portfolio: str = "portfolio.yaml"
    prices: str | None = None


class Retention(Strict):
    """How long numbers are kept: every tick, then one an hour, then one a day for ever; and events and messages."""

    raw: Duration = Field(default=7 * 86400.0, ge=86400.0)
    hourly: Duration = Field(default=90 * 86400.0, ge=86400.0)
    events: Duration = Field(default=400 * 86400.0, ge=86400.0)

    @model_validator(mode="after")
    def _ordered(self) -> Retention:
        if self.hourly < self.raw:
            raise ValueError("hourly must be at least as long as raw")
        return self


def _loopback(value: str) -> str:
    host, _, port = value.rpartition(":")
    if host not in ("127.0.0.1", "localhost", "[::1]") or not port.isdecimal() or int(port) > 65535:
        raise ValueError("must be this machine and a port such as 127.0.0.1:9108; nobody else may read it")
    return value


class LogConfig(Strict):
    """What goes to standard error, one line an event. At ``info`` the log takes the place of the screen."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "warning"


class Serve(Strict):
    """The page with health and metrics, for programs of this machine."""

    enabled: bool = True
    listen: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1:9108"


class HeartbeatConfig(Strict):
    """An address elsewhere that is asked while all is well. It is a secret, so only its place is here."""

    url_env: VariableName | None = None
    url_file: SecretPath | None = None
    every: Duration = Field(default=300.0, ge=30)


class NightlyConfig(Strict):
    """A loan tape stressed once a day behind everything else. Paths are relative to the config file."""

    tape: str
    map: str
    out: str
    at: Clock = "02:00"
    tz: Zone = "UTC"
    paths: int = Field(default=65_536, ge=1, le=1 << 30)
    months: int = Field(default=12, ge=1, le=120)
    memory: str = "1GiB"


class ConfigText(Strict):
    """The whole file as written."""

    schedule: Schedule = Schedule()
    feeds: dict[Name, FeedConfig] = {}
    routes: tuple[RouteConfig, ...] = ()
    chat: dict[Name, ChannelConfig] = {}
    engine: Engine = Engine()
    paths: PathsText = PathsText()
    retention: Retention = Retention()
    serve: Serve = Serve()
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    logging: LogConfig = LogConfig()
    nightly: NightlyConfig | None = None


# ---------------------------------------------------------------- the config in use
@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are, absolute. ``prices``: recorded series; ``portfolio``: a file that may be missing."""

    state: Path
    rules: Path
    book: Path
    scenarios: Path
    prices: Path | None = None
    portfolio: Path | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Which config file counts and why. ``starter``: the set that ships with Canary, to be read and never edited."""

    file: Path
    why: str
    starter: bool = False


@dataclass(frozen=True)
class Config:
    """A checked config with absolute folders."""

    schedule: Schedule
    feeds: Mapping[str, FeedConfig]
    routes: tuple[RouteConfig, ...]
    chat: Mapping[str, ChannelConfig]
    engine: Engine
    paths: Paths
    retention: Retention
    found: Found
    serve: Serve
    heartbeat: HeartbeatConfig
    logging: LogConfig
    nightly: NightlyConfig | None = None


def config_candidates(environ: Mapping[str, str], cwd: Path) -> list[tuple[Path, str]]:
    """Where a config is looked for when none is named, in order, each with its reason.

    >>> [why for _, why in config_candidates({"HOME": "/home/ada"}, Path("/srv"))]
    ['in this folder', "in the user's config folder", 'of the whole machine']
    """
    home = Path(environ.get("HOME") or "~").expanduser()
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [
        (cwd / "config.yaml", "in this folder"),
        (user / "canary" / "config.yaml", "in the user's config folder"),
        (Path("/etc/canary/config.yaml"), "of the whole machine"),
    ]


def find_config(explicit: Path | None, environ: Mapping[str, str], cwd: Path) -> Found:
    """The config that counts: named, from CANARY_CONFIG, then the usual places, else the starter set.

    Raises InputError when a named file does not exist: a typing mistake must not silently start something else.
    """
    named = [(explicit, "named by --config")]
    if environ.get("CANARY_CONFIG"):
        named.append((Path(environ["CANARY_CONFIG"]), "named by CANARY_CONFIG"))
    for path, why in named:
        if path is not None:
            file = (cwd / path / "config.yaml") if (cwd / path).is_dir() else cwd / path
            if not file.is_file():
                fix = "check the name, or make a starter set with: canary init DIR"
                raise InputError([Problem(str(path), 1, 1, 0, f"no such config ({why})", fix)])
            return Found(file, why)
    for path, why in config_candidates(environ, cwd):
        if path.is_file():
            return Found(path, why)
    return Found(starter_root() / "config.yaml", "the starter set that ships with Canary (read-only)", starter=True)


def state_folder(environ: Mapping[str, str]) -> Path:
    """The default folder of the database: XDG_STATE_HOME/canary.

    >>> state_folder({"XDG_STATE_HOME": "/var/lib"}).as_posix()
    '/var/lib/canary'
    """
    home = Path(environ.get("HOME") or "~").expanduser()
    return Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "canary"


def load_config(found: Found, environ: Mapping[str, str]) -> Config:
    """Read and check a config. Raises InputError with every problem and its place."""
    written = _checked(read_file(found.file, _shown(found.file)))
    base = found.file.resolve().parent
    state = written.paths.state
    paths = Paths(
        state=_under(base, state) if state else state_folder(environ).absolute(),
        rules=_under(base, written.paths.rules),
        book=_under(base, written.paths.book),
        scenarios=_under(base, written.paths.scenarios),
        prices=_under(base, written.paths.prices) if written.paths.prices else None,
        portfolio=_under(base, written.paths.portfolio),
    )
    return Config(
        schedule=written.schedule,
        feeds=written.feeds,
        routes=written.routes,
        chat=written.chat,
        engine=written.engine,
        paths=paths,
        retention=written.retention,
        found=found,
        serve=written.serve,
        heartbeat=written.heartbeat,
        logging=written.logging,
        nightly=written.nightly,
    )


def _checked(text: Text) -> ConfigText:
    try:
        tree = parse_tree(text)
        written = check(ConfigText, tree, text)
    except InputError as error:
        raise InputError([_without_secret(problem) for problem in error.problems]) from None
    problems: list[Problem] = []
    routes = tree.value["routes"].value if written.routes else []
    for index, route in enumerate(written.routes):
        if route.name in [earlier.name for earlier in written.routes[:index]]:
            node = routes[index].value["name"]
            problems.append(
                text.problem(f"route {route.name!r} is written twice", "give each route its own name", node)
            )
    for name, channel in written.chat.items():
        for kind in ("token", "url"):
            if getattr(channel, f"{kind}_env") and getattr(channel, f"{kind}_file"):
                node = tree.value["chat"].value[name].value[f"{kind}_file"]
                problems.append(text.problem(f"{kind}_env and {kind}_file are both given", "keep one of them", node))
        problems += _people_problems(text, tree, name, channel)
    for name, feed in written.feeds.items():
        if feed.key_env and feed.key_file:
            node = tree.value["feeds"].value[name].value["key_file"]
            problems.append(text.problem("key_env and key_file are both given", "keep one of them", node))
    if written.heartbeat.url_env and written.heartbeat.url_file:
        node = tree.value["heartbeat"].value["url_file"]
        problems.append(text.problem("url_env and url_file are both given", "keep one of them", node))
    if problems:
        raise InputError(problems)
    return written


def _people_problems(text: Text, tree: Node, name: str, channel: ChannelConfig) -> list[Problem]:
    """People where no bot listens, and people written twice."""
    if not channel.people and not channel.chats:
        return []
    written = tree.value["chat"].value[name].value
    if name != "telegram":
        node = written["people" if channel.people else "chats"]
        return [text.problem(f"{name} hears nobody", "only telegram takes people and chats", node)]
    users = [person.user for person in channel.people]
    return [
        text.problem(f"the person {user} is written twice", "keep one line for each", written["people"].value[index])
        for index, user in enumerate(users)
        if user in users[:index]
    ]


def _without_secret(problem: Problem) -> Problem:
    """The same problem without a line that may hold a secret somebody pasted: error texts end up in logs."""
    secret_key = re.match(r"\s*-?\s*(token|key|url)_(env|file)\s*:", problem.source_line)
    if not secret_key and not TOKEN.search(problem.source_line + problem.message):
        return problem
    message = TOKEN.sub("...", problem.message)
    return Problem(problem.file, problem.line, problem.column, 0, message, problem.fix)


def _shown(path: Path) -> str:
    return path.name if path.parent == Path.cwd() else str(path)


def _under(base: Path, written: str) -> Path:
    return (base / Path(written).expanduser()).absolute()


def routes_of(config: Config) -> tuple[Route, ...]:
    """The routes as routing wants them; without any in the file, everything goes to the console."""
    return tuple(_route(route, config.chat) for route in config.routes) or (Route("console", "console"),)


def _route(written: RouteConfig, chat: Mapping[str, ChannelConfig]) -> Route:
    channel, quiet = chat.get(written.channel), written.quiet_hours
    to = written.to if written.to != "" else channel.chat if channel and channel.chat is not None else ""
    return Route(
        name=written.name,
        channel=written.channel,
        to=str(to),
        severities=written.severities,
        rules=written.rules,
        borrowers=written.borrowers,
        quiet=Quiet(time.fromisoformat(quiet.from_), time.fromisoformat(quiet.to), quiet.tz) if quiet else None,
        digest_at=time.fromisoformat(written.digest_at),
        tz=written.tz,
        group_by=written.group_by,
        send_resolved=written.send_resolved,
        escalation=written.escalation,
        holdings=written.holdings,
    )


# ---------------------------------------------------------------- secrets and edits
def read_secret(env: str | None, file: str | None, environ: Mapping[str, str], base: Path) -> str | None:
    """The secret behind a name: an environment variable or the first line of a small file; None when neither is named.

    Raises CanaryError, without the secret in its text, when the named place holds nothing usable.
    """
    if env:
        secret = environ.get(env, "").strip()
        if not secret:
            raise CanaryError(f"the environment variable {env} is not set; set it, or name a file with token_file")
    elif file:
        path = _under(base, file)
        try:
            with path.open("rb") as handle:
                data = handle.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise CanaryError(f"the secret file {path} cannot be read: {error.strerror}") from None
        if len(data) > MAX_SECRET_BYTES:
            raise CanaryError(f"the secret file {path} is larger than {MAX_SECRET_BYTES} bytes")
        secret = data.decode("utf-8", "replace").strip()
        if not secret:
            raise CanaryError(f"the secret file {path} is empty")
    else:
        return None
    if not secret.isprintable() or len(secret.split()) != 1:
        raise CanaryError(f"the secret in {env or file} has blanks or control characters in it")
    return secret


def input_files(config: Config) -> Iterator[Path]:
    """Every file a user writes, in a stable order: the config, the portfolio if any, rules, book and scenarios."""
    yield config.found.file
    if config.paths.portfolio is not None and config.paths.portfolio.is_file():
        yield config.paths.portfolio
    for folder in (config.paths.rules, config.paths.book, config.paths.scenarios):
        yield from sorted(path for path in folder.rglob("*.y*ml") if path.is_file())


def inputs_hash(config: Config) -> str:
    """A fingerprint of every file a user writes; a change asks for a reload. Unreadable files count as such."""
    digest = hashlib.sha256()
    for path in input_files(config):
        digest.update(str(path).encode("utf-8", "replace") + b"\0")
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:  # vanished between listing and reading, or not readable: the loader will say which
            digest.update(str(error.errno).encode())
    return digest.hexdigest()


def secret_places(config: Config) -> Iterator[tuple[str, str | None, str | None]]:
    """Every secret the config names: (whose it is, environment variable, file)."""
    for name, channel in config.chat.items():
        if channel.enabled:
            yield f"chat.{name} token", channel.token_env, channel.token_file
            yield f"chat.{name} url", channel.url_env, channel.url_file
    for name, feed in config.feeds.items():
        if feed.enabled:
            yield f"feeds.{name} key", feed.key_env, feed.key_file
    yield "heartbeat url", config.heartbeat.url_env, config.heartbeat.url_file


def heartbeat_url(config: Config, environ: Mapping[str, str], base: Path) -> str | None:
    """The address of the heartbeat; None when none is named. CanaryError, without the address, when it does not do."""
    url = read_secret(config.heartbeat.url_env, config.heartbeat.url_file, environ, base)
    try:
        return None if url is None else _url(url)
    except ValueError as error:
        raise CanaryError(f"the heartbeat url {error}") from None
