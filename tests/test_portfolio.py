"""The portfolio: read strictly, written byte by byte, leading messages and digests, routing what is held; mutes end."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from desk import lay_desk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.cli import run_line
from monitor.config import Config, Found, load_config
from monitor.context import Context
from monitor.messages import compose, digest
from monitor.model import AlertState, CanaryError, Event, InputError, Observation, Quote, Rule, Severity
from monitor.portfolio import Portfolio, deaf, exposed, load_portfolio, muted_lines, portfolio_of, routed
from monitor.portfolio_edits import Word, carry_out, edited, until_of
from monitor.routes import Mute, Overlay, Route, Told
from monitor.routing import route
from monitor.store import Store
from monitor.store_chat import audits
from monitor.suppressed import suppressed_lines
from monitor.tick import Memory, judge, look
from monitor.world import build_world
from monitor.yamltext import Text, parse_tree

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
FILE = """# private
holdings:
  - {borrower: alpha, instrument: 9 % notes 2030, notional_usd: 25m, quote: bond_price}   # bought at 97
  - borrower: stub
    instrument: Term loan
    notional_usd: -1.5m
    note: a short
people:
  - user: 42   # Ada
    watches: [stub]
    mutes:
      - {borrower: alpha, until: 2026-11-08T12:00Z}   # too loud
      - borrower: stub
        until: 2026-11-02T00:00+01:00
"""
BOOK = ("alpha", "stub", "zeta")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The small desk, without a portfolio."""
    lay_desk(tmp_path)
    return load_config(Found(tmp_path / "config.yaml", "for a test"), {"HOME": str(tmp_path)})


# ---------------------------------------------------------------- reading
def test_the_file_is_read_with_amounts_signs_and_moments() -> None:
    """Units, short positions, time zones and notes come out as written."""
    held = portfolio_of(Text(FILE, "portfolio.yaml"), BOOK)
    assert [(p.borrower, p.notional_usd, p.quote, p.note) for p in held.positions] == [
        ("alpha", 25e6, "bond_price", ""),
        ("stub", -1.5e6, "", "a short"),
    ]
    assert held.people[0].mutes[1] == Mute("stub", datetime(2026, 11, 1, 23, tzinfo=UTC))
    assert held.held == ("alpha", "stub")


@pytest.mark.parametrize("text", ["", "# nothing yet\n\n", "holdings: []\npeople: []\n"])
def test_no_file_and_an_empty_one_hold_nothing(tmp_path: Path, text: str) -> None:
    """The file is optional, and remarks alone are no mistake."""
    path = tmp_path / "portfolio.yaml"
    assert load_portfolio(path) == Portfolio()
    path.write_text(text)
    assert load_portfolio(path) == Portfolio()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("alpha,", "alhpa,"), "portfolio.yaml:3:16: the book has no borrower 'alhpa'"),
        (("[stub]", "[stub, nobody]"), "the book has no borrower 'nobody'"),
        (("25m", "25 zillion"), "unknown unit 'zillion'"),
        (("25m", "true"), "true/false is not a number"),
        (("25m", ".inf"), "is not a number"),
        (("25m", "9e30"), "less than or equal to"),
        (("bond_price}", "share_price}"), "'share_price' is not one of"),
        (("notional_usd: -1.5m", "notional: -1.5m"), "unknown key 'notional'"),
        (("user: 42", "user: 0"), "greater than 0"),
        (("until: 2026-11-08T12:00Z", "until: soon"), "'soon' is no moment"),
        (("until: 2026-11-08T12:00Z", "until: 2026-11-08T12:00"), "names no time zone"),
        (("holdings:", "holdings: &a"), "anchor &a is not allowed"),
        (("# private", "- a"), "not readable as YAML"),
    ],
    ids=range(13),
)
def test_a_mistake_is_shown_at_its_place(change: tuple[str, str], said: str) -> None:
    """Each mistake names the file, the line and what is wrong, with carets."""
    with pytest.raises(InputError) as caught:
        portfolio_of(Text(FILE.replace(*change, 1), "portfolio.yaml"), BOOK)
    assert said in str(caught.value)


def test_two_entries_for_one_person_are_a_mistake() -> None:
    """Which of two counts would be a guess."""
    with pytest.raises(InputError, match="person 7 is written twice"):
        portfolio_of(Text("people: [{user: 7}, {user: 7}]", "portfolio.yaml"))


# ---------------------------------------------------------------- writing
WORDS = st.builds(
    Word,
    st.sampled_from(["watch", "unwatch", "mute", "unmute"]),
    st.sampled_from([42, 43]),
    st.sampled_from(BOOK),
    st.integers(1, 30 * 1440).map(lambda minutes: AT + timedelta(minutes=minutes)),
)
LAYOUTS = [
    FILE,
    FILE.replace("\n", "\r\n"),
    FILE.replace("watches: [stub]", "watches:\n      - stub   # him\n      - alpha"),
    "{holdings: [], people: [{user: 42, watches: [stub, alpha], mutes: []}]}\n",
    "people:\n- user: 42\n  watches:\n  - stub\n# the end",
    "holdings: []   # n\u00f6",
    "# only remarks\n",
    "",
]


@given(st.sampled_from(LAYOUTS), st.lists(WORDS, min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_words_change_what_they_say_and_nothing_else(layout: str, words: list[Word]) -> None:
    """After any words, in any layout, every other value reads as before and every remark and holding is still there."""
    text, done = layout, 0
    for word in words:
        before = portfolio_of(Text(text, "p.yaml"))
        try:
            after = edited(Text(text, "p.yaml"), word)
        except CanaryError as error:
            assert any(said in str(error) for said in ("already", "not watched", "not muted", "cannot be edited"))
            continue
        now = portfolio_of(Text(after, "p.yaml"))
        assert now.positions == before.positions
        assert [p for p in now.people if p.user != word.user] == [p for p in before.people if p.user != word.user]
        mine = next(p for p in now.people if p.user == word.user)
        assert (word.borrower in mine.watches) == (word.what == "watch") or word.what in ("mute", "unmute")
        if word.what == "mute":
            assert Mute(word.borrower, word.until.replace(second=0, microsecond=0)) in mine.mutes
        text, done = after, done + 1
    assume(done)
    assert "private" in text or "private" not in layout
    assert text.count("bought at 97") == layout.count("bought at 97")


def test_taking_a_word_back_gives_the_bytes_as_they_were() -> None:
    """Watch then unwatch, mute then unmute: the file is the same to the byte, where its lists were there before."""
    for first, second in (("watch", "unwatch"), ("mute", "unmute")):
        there = Word(first, 42, "zeta", AT)  # type: ignore[arg-type]
        back = Word(second, 42, "zeta")  # type: ignore[arg-type]
        assert edited(Text(edited(Text(FILE, "p"), there), "p"), back) == FILE


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if "stub" in layout], ids=range(5))
def test_the_last_name_of_a_list_can_go(layout: str) -> None:
    """In every layout in which somebody watches stub he can stop, and the list is empty or holds the others."""
    after = portfolio_of(Text(edited(Text(layout, "p"), Word("unwatch", 42, "stub")), "p"))
    assert "stub" not in after.people[0].watches


def test_muting_again_moves_the_end_and_only_that() -> None:
    """A second mute of the same borrower changes the characters of its end."""
    after = edited(Text(FILE, "p"), Word("mute", 42, "alpha", datetime(2026, 11, 20, 7, 30, tzinfo=UTC)))
    assert after == FILE.replace("2026-11-08T12:00Z", "2026-11-20T07:30Z")


def test_a_first_word_makes_the_file_for_its_owner_alone(config: Config) -> None:
    """Where no file was, it is made with rights for its owner only, and the audit says who said what."""
    assert config.paths.portfolio is not None
    with Store(config.paths.state / "canary.sqlite") as store:
        carry_out(store, config, Word("mute", 42, "alpha", AT + timedelta(days=7)), AT, "Ada (42)", "42")
        entry = audits(store)[0]
    assert (entry.action, entry.target, entry.who) == ("mute", "alpha", "Ada (42)")
    assert stat.S_IMODE(config.paths.portfolio.stat().st_mode) == 0o600
    assert load_portfolio(config.paths.portfolio).people[0].mutes == (Mute("alpha", AT + timedelta(days=7)),)


def test_a_portfolio_somebody_broke_is_not_edited(config: Config) -> None:
    """A mistake in the file is told and the file left as it is."""
    assert config.paths.portfolio is not None
    config.paths.portfolio.write_text("holdings: {}\n")
    with Store(config.paths.state / "canary.sqlite") as store:
        with pytest.raises(InputError, match="must be a list"):
            carry_out(store, config, Word("watch", 42, "alpha"), AT, "Ada")
        assert audits(store) == []
    assert config.paths.portfolio.read_text() == "holdings: {}\n"


@pytest.mark.parametrize("span", ["", "7", "0", "30s", "31d", "-1d", "for ever", "9e9d"])
def test_a_mute_has_an_end_within_a_month(span: str) -> None:
    """No mute without an end, none longer than 30 days."""
    with pytest.raises(CanaryError):
        until_of(span, AT)


# ---------------------------------------------------------------- who hears of what
def test_routes_of_holdings_hear_of_what_is_held_and_a_watch_widens_them() -> None:
    """Held and watched; a route that is limited keeps its limits; one that hears all goes on hearing all."""
    held = portfolio_of(Text(FILE, "p"), BOOK)
    own = Route("own", "telegram", "42", holdings=True)
    few = Route("few", "telegram", "42", borrowers=("zeta",))
    everything = Route("all", "telegram", "42")
    other = Route("other", "telegram", "43", holdings=True, borrowers=("stub", "zeta"))
    found = routed([own, few, everything, other], held)
    assert [one.borrowers for one in found] == [("alpha", "stub"), ("zeta", "stub"), (), ("stub",)]
    assert [len(one.muted) for one in found] == [2, 2, 2, 0]


def test_a_route_of_holdings_with_nothing_held_is_a_mistake_of_the_config(config: Config) -> None:
    """An empty list would mean everybody; it is refused at its place instead."""
    assert deaf(routed([Route("own", "console", holdings=True)], Portfolio())) == ["own"]
    text = config.found.file.read_text() + "routes: [{name: own, channel: console, holdings: true}]\n"
    config.found.file.write_text(text)
    again = load_config(config.found, {"HOME": "/"})
    with pytest.raises(InputError, match="is for what is held, and nothing is"):
        build_world(again, offline=True)
    (config.found.file.parent / "portfolio.yaml").write_text(
        "holdings: [{borrower: alpha, instrument: Notes, notional_usd: 1m}]\n"
    )
    assert build_world(again, offline=True).routes[0].borrowers == ("alpha",)


def _heard(severity: Severity, muted: tuple[Mute, ...], now: datetime, kind: str = "fired") -> tuple[bool, str]:
    """Whether a route says one event of alpha now, and the reason."""
    rule = Rule("R", "x > 1", severity)
    event = Event("e", "R", "alpha/pool", severity, kind, now, "", "ok", "firing", "abc")  # type: ignore[arg-type]
    state = AlertState("R", "alpha/pool", "firing" if kind == "fired" else "ok", fired_at=now, short_id="abc")
    told = [Told("me", "abc", True, now - timedelta(hours=1))] if kind == "resolved" else []
    me = Route("me", "telegram", "42", muted=muted)
    plan = route([event], {("R", "alpha/pool"): state}, [me], [rule], now, told=told)
    return plan.decisions[-1].send, plan.decisions[-1].reason


def test_a_mute_holds_back_warnings_until_its_end_and_nothing_critical() -> None:
    """Muted: warnings and recoveries wait with the reason; critical passes; afterwards all is said."""
    mute = (Mute("alpha", AT + timedelta(days=7)),)
    assert _heard("warning", mute, AT) == (False, "muted by this person until 2026-11-08 12:00 UTC")
    assert _heard("critical", mute, AT)[0]
    assert _heard("warning", mute, AT + timedelta(days=7))[0]
    assert _heard("warning", (Mute("zeta", AT + timedelta(days=7)),), AT)[0]
    assert _heard("warning", mute, AT, "resolved") == (False, "muted by this person until 2026-11-08 12:00 UTC")


def test_nothing_muted_is_repeated() -> None:
    """A warning told yesterday is due again today, but not to somebody who muted its borrower."""
    rule, state = Rule("R", "x > 1", "warning"), AlertState("R", "alpha", "firing", fired_at=AT, short_id="abc")
    now = AT + timedelta(hours=25)
    told = [Told("me", "abc", True, AT)]
    for muted, due in (((), 1), ((Mute("alpha", now + timedelta(days=1)),), 0)):
        me = Route("me", "telegram", "42", muted=muted)
        assert len(route([], {("R", "alpha"): state}, [me], [rule], now, told=told).groups) == due


def test_what_is_suppressed_is_listed_every_day_even_when_nothing_happened() -> None:
    """At the hour of the digest a list goes out while anything is silenced or muted; else there is no empty digest."""
    before, after = AT.replace(hour=6, minute=55), AT.replace(hour=7, minute=10)
    silence = Overlay("silence", before, AT + timedelta(days=2), rule="R", by="Ada")
    desk = Route("desk", "console", digest_at=time(7))
    muting = replace(desk, muted=(Mute("alpha", AT + timedelta(days=2)),))

    def groups(one: Route, said: list[Overlay], last: datetime, now: datetime) -> list[str]:
        return [group.kind for group in route([], {}, [one], [], now, overlays=said, last_at=last).groups]

    assert groups(desk, [silence], before, after) == ["digest"]
    assert groups(muting, [], before, after) == ["digest"]
    assert groups(desk, [], before, after) == []
    assert groups(desk, [silence], after, after + timedelta(hours=1)) == []
    assert groups(replace(desk, escalation=True), [silence], before, after) == []


def test_the_digest_names_every_word_in_force() -> None:
    """Silences, acknowledgements and mutes with their ends; what is over is left out."""
    said = [
        Overlay("ack", AT, None, short_id="abc", by="Bob"),
        Overlay("silence", AT, AT + timedelta(days=1), subject="alpha", by="Ada", note="known"),
        Overlay("silence", AT, AT - timedelta(days=1), subject="over"),
    ]
    lines = suppressed_lines(said, AT)
    assert [(line.label, line.text) for line in lines] == [
        ("quiet", "alpha silenced until 2026-11-02 12:00 UTC by Ada: known"),
        ("", "abc acknowledged until it is over by Bob"),
    ]
    mine = Route("me", "telegram", muted=(Mute("alpha", AT + timedelta(days=1)), Mute("over", AT - timedelta(days=1))))
    assert [line.text for line in muted_lines(mine, AT)] == [
        "alpha until 2026-11-02 12:00 UTC, but for critical alerts"
    ]


# ---------------------------------------------------------------- messages
def _contexts(held: Portfolio, quotes: dict[tuple[str, str], Quote]) -> list[Context]:
    events = [Event(f"e{i}", "R", who, "warning", "fired", AT + timedelta(minutes=i), "", "ok", "firing")
              for i, who in enumerate(("zeta", "alpha/pool"))]  # fmt: skip
    return exposed([Context(event, event.subject.partition("/")[0]) for event in events], held, quotes)


def test_own_exposure_leads_the_message_and_the_digest() -> None:
    """The first row is what is held with its last quote, and events of what is held come first."""
    held = portfolio_of(Text(FILE, "p"), BOOK)
    quote = Quote("bond_price", "alpha", 93.5, "points", AT - timedelta(days=1), AT, "a desk")
    contexts = _contexts(held, {("bond_price", "alpha"): quote})
    _, lines = compose("fired", "warning", contexts, AT)
    assert (lines[0].label, lines[0].text) == (
        "own",
        "alpha: 9 % notes 2030: 25.0m USD, last quote 93.50 % of par on 2026-10-31 (a desk)",
    )
    assert lines[1].label == "alert"
    _, lines = digest(contexts, AT)
    assert [line.label for line in lines] == ["own", "warning", "warning"]
    assert "alpha" in lines[1].text
    assert "zeta" in lines[2].text


def test_a_quote_nobody_may_use_any_more_is_a_question_mark() -> None:
    """An unknown, old or missing quote is said as unknown; a position without a series has none."""
    held = portfolio_of(Text(FILE, "p"), BOOK)
    stale = Quote("bond_price", "alpha", float("nan"), "points", AT, AT, "a desk", reason="too old")
    for quotes in ({}, {("bond_price", "alpha"): stale}):
        assert "last quote ?" in compose("fired", "warning", _contexts(held, quotes), AT)[1][0].text


def test_an_evaluation_fills_the_exposure(config: Config) -> None:
    """From the file to the message: the critical alert of alpha begins with what is held of it."""
    assert config.paths.portfolio is not None
    config.paths.portfolio.write_text(FILE)
    result = look(build_world(config, offline=True), datetime(2026, 9, 1, tzinfo=UTC))
    assert [message.lines[0].text for message in result.messages] == ["9 % notes 2030: 25.0m USD, last quote ?"]


def test_the_daily_digest_of_a_running_canary_lists_what_is_quiet(config: Config, tmp_path: Path) -> None:
    """Nothing happened overnight; at seven a digest goes out all the same, because something is silenced."""
    assert config.paths.portfolio is not None
    config.paths.portfolio.write_text(FILE)
    world = build_world(config, offline=True)
    memory = Memory(config.paths.state, AT)
    for hours in (0, 18, 19.2):
        now = AT + timedelta(hours=hours)
        seen = [Observation("btc_usd", 90_000.0, "usd", now, now, venue) for venue in ("Venue A", "Venue B")]
        result = judge(world, memory, seen, (), now)
        if not hours:
            memory.live.add_overlay(Overlay("silence", now, now + timedelta(days=3), rule="LowCash", by="Ada"))
    memory.close()
    (message,) = result.messages
    assert (message.kind, message.title) == ("digest", "DIGEST 2026-11-02: nothing changed")
    assert [line.text for line in message.lines] == ["LowCash silenced until 2026-11-04 12:00 UTC by Ada"]


# ---------------------------------------------------------------- the command line
def test_the_portfolio_is_listed_with_coverage_and_alerts(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """Positions beside the last evaluation; 1 because something fires; who mutes what until when."""
    assert config.paths.portfolio is not None
    here = ["--config", str(config.found.file), "--offline"]
    assert run_line([*here, "portfolio"]) == 0
    assert "there is no portfolio" in capsys.readouterr().out
    config.paths.portfolio.write_text(FILE.replace("2026-11-08", "2099-11-08"))
    run_line([*here, "tick"])
    capsys.readouterr()
    assert run_line([*here, "portfolio"]) == 1
    said = capsys.readouterr().out
    assert "2 positions of 2 borrowers, 23.5m USD net" in said
    assert "LowCash" in said
    assert "person 42 watches stub and mutes alpha until 2099-11-08 12:00 UTC" in said
    assert run_line([*here, "portfolio", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["holdings"][0]["firing"] == ["LowCash"]
    assert data["holdings"][1]["notional_usd"] == -1.5e6


def test_amounts_are_no_part_of_what_an_evaluation_keeps(config: Config) -> None:
    """Holdings are private: neither the hash of an evaluation nor its metrics know of them."""
    assert config.paths.portfolio is not None
    before = build_world(config, offline=True)
    config.paths.portfolio.write_text(FILE)
    after = build_world(config, offline=True)
    assert after.portfolio != before.portfolio
    assert after.inputs == before.inputs
    assert parse_tree(Text(FILE, "p")).plain()
