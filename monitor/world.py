"""Everything one evaluation needs besides time and memory: config, book, rules, scenarios, sources and channels.

Built whole or not at all: every mistake of every file is reported at once, and the daemon keeps the last good world.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import __version__, chat
from monitor import feeds as sources
from monitor.book import load_book
from monitor.config import Config, FeedConfig, read_secret, routes_of
from monitor.feeds import file
from monitor.metrics import METRICS
from monitor.model import Book, Borrower, CanaryError, InputError, Observation, Problem, Rule
from monitor.portfolio import Portfolio, deaf, load_portfolio, routed
from monitor.rulefile import load_rules
from monitor.rules import CompiledRule, compile_rules
from monitor.scenariofile import load_scenarios
from monitor.yamltext import collect, point_at, read_file, suggest

if TYPE_CHECKING:
    from monitor.routes import Route
    from monitor.stress.scenario import Scenario


@dataclass(frozen=True)
class World:
    """One consistent set of what people wrote and what was found. Channels are opened when they are first used."""

    config: Config
    book: Book
    rules: tuple[Rule, ...]
    compiled: tuple[CompiledRule, ...]
    scenarios: tuple[Scenario, ...]
    feeds: tuple[sources.Feed, ...]
    feeds_off: tuple[sources.Off, ...]
    routes: tuple[Route, ...]
    recorded: tuple[Observation, ...]
    rules_hash: str
    offline: bool = False
    portfolio: Portfolio = field(default_factory=Portfolio)

    @property
    def inputs(self) -> tuple[str, str, str, str]:
        """The hashes of everything that decides an outcome besides prices and time."""
        return self.book.book_hash, self.book.assumptions_hash, self.rules_hash, __version__


def build_world(config: Config, *, offline: bool = False) -> World:
    """Read and check everything the config names. Raises InputError with every problem of every file."""
    problems: list[Problem] = []
    book, rules = Book(()), tuple[Rule, ...]()
    loaded: Sequence[Scenario] = ()
    compiled: tuple[CompiledRule, ...] = ()
    try:
        book = load_book(config.paths.book)
    except InputError as error:
        collect(problems, error)
    try:
        loaded = load_scenarios(config.paths.scenarios)
    except InputError as error:
        collect(problems, error)
    names = {scenario.name for scenario in loaded}
    try:
        rules = load_rules(config.paths.rules, METRICS, names)
        compiled = compile_rules(rules, METRICS, names)
    except InputError as error:
        collect(problems, error)
    found = sources.discover(feed_settings(config, offline, book))
    try:
        recorded = tuple(recorded_observations(config.paths.prices))
    except InputError as error:
        collect(problems, error)
    portfolio = Portfolio()
    try:
        portfolio = load_portfolio(config.paths.portfolio, {b.id for b in book.borrowers})
    except InputError as error:
        collect(problems, error)
    problems.extend(_names_unknown(config, {b.id for b in book.borrowers}, {r.id for r in rules}, found))
    routes = routed(routes_of(config), portfolio)
    if not problems:  # what is held may stand in the file that could not be read
        problems.extend(_deaf_routes(config, routes))
    if problems:
        raise InputError(problems)
    return World(
        config=config,
        book=book,
        rules=rules,
        compiled=compiled,
        scenarios=tuple(loaded),
        feeds=tuple(feed for feed in found if isinstance(feed, sources.Feed)),
        feeds_off=tuple(off for off in found if isinstance(off, sources.Off)),
        routes=routes,
        recorded=recorded,
        rules_hash=_hash_of(config.paths.rules, config.paths.scenarios),
        offline=offline,
        portfolio=portfolio,
    )


def _deaf_routes(config: Config, routes: Sequence[Route]) -> Iterator[Problem]:
    """Routes of holdings where nothing is held: they would never say anything, and nobody would notice."""
    text = read_file(config.found.file)
    for name in deaf(routes):
        why = f"route {name!r} is for what is held, and nothing is"
        yield point_at(text, "holdings", why, "write holdings into portfolio.yaml beside this file, or leave it out")


def _names_unknown(
    config: Config, borrowers: set[str], known_rules: set[str], found: Sequence[sources.Feed | sources.Off]
) -> Iterator[Problem]:
    """Names in the config of things that do not exist: a typing mistake there would silence somebody unnoticed."""
    named = [("source", name, {one.name for one in found}) for name in config.feeds]
    named += [("channel", name, set(chat.discover())) for name in config.chat]
    for route in config.routes:
        named += [("channel", route.channel, set(chat.discover()))]
        # an empty set means its own files could not be read; that is said already
        named += [("borrower", name, borrowers) for name in route.borrowers if borrowers]
        named += [("rule", name, known_rules) for name in route.rules if known_rules]
    text = read_file(config.found.file)
    for kind, name, known in named:
        if name not in known:
            yield point_at(text, name, f"there is no {kind} {name!r}", suggest(name, sorted(known)))


def feed_settings(config: Config, offline: bool, book: Book | None = None) -> Mapping[str, sources.FeedSettings]:
    """What the config says about each source; offline, only the file source is on. Companies are those of ``book``."""
    companies = tuple(map(_company, book.borrowers if book else ()))
    names = {off_or_feed.name for off_or_feed in sources.discover()} if offline else set()
    off = sources.FeedSettings(enabled=False, trouble="off because of --offline")
    settings = dict.fromkeys(names - {"file"}, off)
    for name, written in config.feeds.items():
        if name not in settings:
            key, trouble = _key(written, config)
            settings[name] = sources.FeedSettings(
                enabled=written.enabled,
                base_url=written.base_url,
                time_limit_s=written.timeout,
                max_age_s=written.max_age,
                key=key,
                trouble=trouble,
                contact=written.contact,
                companies=companies,
            )
    own = settings.get("file", sources.FeedSettings())
    settings["file"] = sources.FeedSettings(
        own.enabled, own.base_url, own.time_limit_s, own.max_age_s, config.paths.prices
    )
    return settings


def _company(borrower: Borrower) -> sources.Company:
    counted = [fact.as_of for fact in borrower.facts if fact.field == "shares_outstanding"]
    return sources.Company(borrower.id, borrower.ticker, borrower.cik, max(counted, default=None))


def _key(written: FeedConfig, config: Config) -> tuple[str | None, str]:
    """(the key of a source or None, why a key that is named cannot be had): that switches the source off, no more."""
    try:
        return read_secret(written.key_env, written.key_file, os.environ, config.found.file.parent), ""
    except CanaryError as error:
        return None, str(error)


def recorded_observations(prices: Path | None) -> list[Observation]:
    """Every recorded row, whatever the day: those that come with Canary and those a desk dropped into its folder."""
    own = [row for path in file.csv_files(prices) for row in file.read_csv(path)] if prices else []
    return [*file.recorded(), *own]


def open_channel(
    world: World,
    name: str,
    on_moved: Callable[[str, str], None] | None = None,
    buttons: chat.Buttons | None = None,
) -> chat.Channel:
    """The channel of this name with its secrets read; CanaryError when it is off or a secret is missing."""
    written = world.config.chat.get(name)
    if written is not None and not written.enabled:
        raise CanaryError(f"the chat channel {name} is switched off in the configuration")
    settings = chat.Settings()
    if written is not None:
        settings = chat.settings_of(written, os.environ, world.config.found.file.parent, on_moved, buttons)
    return chat.open_channel(name, settings)


def _hash_of(*folders: Path) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
