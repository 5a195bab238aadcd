"""Words over alerts from the command line: shown, written beside a running daemon, heeded, taken back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import RULE, lay_desk

from monitor.asking import LOCK_FILE, alerts_of, say
from monitor.cli import run_line
from monitor.config import find_config, load_config
from monitor.daemon import remember, seen
from monitor.model import CanaryError, Decision, Event, Observation
from monitor.routes import Overlay, Told
from monitor.standing import Alerts, Standing, silence_of, span_of, unsaid
from monitor.store import Lock, Store
from monitor.tick import Memory, TickResult, judge
from monitor.world import World, build_world

HOUR = timedelta(hours=1)
SLOW = """- alert: LittleCash
  expr: cash_unrestricted_usd < 60m
  severity: warning
  summary: "{borrower}: cash {cash_unrestricted_usd:usd} USD"
"""

Canary = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Folders made once to be copied: a desk evaluated on recorded prices, and one on live prices an hour ago."""
    folders = {}
    for name in ("recorded", "live"):
        folders[name] = lay_desk(tmp_path_factory.mktemp(name) / "desk")
        (folders[name] / "rules" / "mine.yaml").write_text(RULE + SLOW)
        made = Live(folders[name])
        made.evaluate(datetime.now(UTC) - HOUR, live=name == "live")
        made.memory.close()
    return folders


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A desk to stand in with a critical and a warning rule; both are true of its one miner."""
    for name in ("CANARY_CONFIG", "CANARY_DEBUG", "USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = lay_desk(tmp_path / "desk")
    (folder / "rules" / "mine.yaml").write_text(RULE + SLOW)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def canary(desk, capsys):
    """Run one command line in this process: (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_line(list(arguments))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


class Live:
    """An installation evaluated when a test says so, as the daemon does it."""

    def __init__(self, folder: Path):
        self.world: World = build_world(load_config(find_config(folder / "config.yaml", {}, folder), {}), offline=True)
        self.memory = Memory(folder / "state", datetime.now(UTC))

    def evaluate(self, at: datetime, live: bool = True) -> TickResult:
        price = Observation("btc_usd", 60_000.0, "usd", at, at, "a source", known_basis="live")
        result = judge(self.world, self.memory, [price] if live else [], [], at)
        remember(self.memory, result, seen(self.world, result))
        return result


@pytest.fixture
def recorded(desk, evaluated):
    """The desk after one evaluation on recorded prices."""
    shutil.copytree(evaluated["recorded"] / "state", desk / "state")
    return desk


@pytest.fixture
def live(desk, evaluated):
    """The desk an hour after an evaluation on live prices, while its daemon holds lock and database."""
    shutil.copytree(evaluated["live"] / "state", desk / "state")
    made = Live(desk)
    with Lock(desk / "state" / LOCK_FILE):
        yield made
    made.memory.close()


def ids(canary: Canary) -> dict[str, str]:
    """Short ids of the standing alerts by rule."""
    return {row["rule"]: row["id"] for row in json.loads(canary("alerts", "--json")[1])["alerts"]}


def reminded(result: TickResult) -> set[str]:
    """The rules whose alerts were said again."""
    texts = " ".join(f"{m.title} {m.lines}" for m in result.messages if m.kind == "reminder")
    return {rule for rule in ("LowCash", "LittleCash") if rule in texts}


# ---------------------------------------------------------------- what stands
def test_alerts_before_and_after_the_first_evaluation(canary):
    """Without an evaluation a sentence and 2; with something firing its row and 1; --all shows the rest too."""
    code, _, err = canary("alerts")
    assert (code, "run `canary tick` first" in err) == (2, True)
    assert canary("tick", "--offline")[0] == 1
    code, out, _ = canary("alerts", "--json")
    told = json.loads(out)
    row = told["alerts"][0]
    assert (code, told["recorded"], told["firing"]) == (1, True, 2)
    assert (row["rule"], row["subject"], row["severity"], row["state"]) == ("LowCash", "alpha", "critical", "firing")
    assert (len(row["id"]), row["acked"], row["silenced"], row["not_sent"]) == (4, None, None, [])
    assert row["age_s"] > 0
    more = json.loads(canary("alerts", "--all", "--json")[1])["alerts"]
    assert {(r["subject"], r["stands"]) for r in more} == {("alpha", True), ("stub", False)}
    code, out, _ = canary("alerts")
    assert "RECORDED" in out
    assert "besides: 2 unknown" in out


def test_nothing_firing_is_0(desk, canary):
    """When no rule is true the table is empty and the exit code 0."""
    (desk / "rules" / "mine.yaml").write_text(RULE.replace("50m", "5m"))
    canary("tick", "--offline")
    code, out, _ = canary("alerts", "--json")
    assert (code, json.loads(out)["alerts"]) == (0, [])


def test_recorded_words_count_by_the_recorded_clock(recorded, canary):
    """Where time stands still a silence is in force at that moment, and what it covers is not due to be said."""
    code, out, _ = canary("silence", "alpha", "--for", "1d", "--json")
    assert (code, json.loads(out)["recorded"], len(json.loads(out)["covers"])) == (0, True, 2)
    rows = json.loads(canary("alerts", "--json")[1])["alerts"]
    assert all(row["silenced"]["at"] == "2026-09-22T00:00:00+00:00" for row in rows)
    assert "time stands still" in canary("ack", rows[0]["id"])[1]


# ---------------------------------------------------------------- words beside a running daemon
def test_an_ack_is_heeded_by_the_running_daemon(live, canary):
    """Written while the daemon holds its lock and its database, an ack keeps its next evaluations quiet."""
    found = ids(canary)
    code, out, _ = canary("ack", found["LowCash"], "--by", "ann")
    assert (code, "LowCash of alpha is not repeated until it is over" in out) == (0, True)
    row = next(r for r in json.loads(canary("alerts", "--json")[1])["alerts"] if r["rule"] == "LowCash")
    assert (row["acked"]["by"], row["acked"]["until"], row["silenced"]) == ("ann", None, None)
    assert "acked until it is over by ann" in canary("alerts")[1]
    assert reminded(live.evaluate(datetime.now(UTC) + 25 * HOUR)) == {"LittleCash"}


def test_without_a_word_it_is_repeated(live):
    """The same evaluation without a word over it repeats both alerts: the quiet above is the ack's doing."""
    assert reminded(live.evaluate(datetime.now(UTC) + 25 * HOUR)) == {"LowCash", "LittleCash"}


def test_a_word_with_an_end_ends(live, canary):
    """An ack for four hours is over after four hours; a silence of a rule quietens nothing else."""
    found = ids(canary)
    assert canary("ack", found["LowCash"].upper(), "--for", "4h")[0] == 0
    assert canary("silence", "LittleCash/alpha", "--for", "30d", "--note", "sold\u202e coins\x1b")[0] == 0
    said = json.loads(canary("silence", "--list", "--json")[1])["said"]
    assert [(one["kind"], one["match"], one["note"]) for one in said] == [
        ("ack", found["LowCash"], ""),
        ("silence", "LittleCash/alpha", "sold coins"),
    ]
    assert reminded(live.evaluate(datetime.now(UTC) + 25 * HOUR)) == {"LowCash"}


def test_a_second_word_replaces_the_first(live, canary):
    """The same silence said again has the new end only, so it can be made shorter."""
    canary("silence", "alpha", "--for", "7d")
    canary("silence", "alpha", "--for", "1h", "--by", "bob")
    said = json.loads(canary("silence", "--list", "--json")[1])["said"]
    assert [(one["match"], one["by"]) for one in said] == [("alpha", "bob")]
    assert datetime.fromisoformat(said[0]["until"]) < datetime.now(UTC) + HOUR
    assert "silence" in canary("silence", "--list")[1]


@pytest.mark.parametrize("by", ["number", "name"])
def test_a_silence_can_be_taken_back(live, canary, by):
    """By its number or by what was silenced; it is over at once."""
    number = json.loads(canary("silence", "LowCash", "--for", "1d", "--json")[1])["number"]
    code, out, _ = canary("unsilence", str(number) if by == "number" else "LowCash", "--json")
    assert (code, json.loads(out)["ended"][0]["match"]) == (0, "LowCash")
    assert json.loads(canary("silence", "--list", "--json")[1])["said"] == []
    assert reminded(live.evaluate(datetime.now(UTC) + 25 * HOUR)) == {"LowCash", "LittleCash"}


def test_writing_changes_nothing_else(live, desk):
    """One word is one row: states, messages, waiting events and the shape of the database stay as they are."""
    path = desk / "state" / "canary.sqlite"
    tables = ("alerts", "events", "decisions", "waiting", "told", "outbox", "ticks", "meta")

    def contents() -> list[object]:
        with Store.reader(path) as reader:
            rows = [reader.rows(f"SELECT * FROM {table}") for table in tables]
            return [*rows, reader.rows("PRAGMA user_version"), len(reader.rows("SELECT * FROM overlays"))]

    before = contents()
    now = datetime.now(UTC)
    say(desk / "state", Overlay("silence", now, now + HOUR, subject="alpha"))
    after = contents()
    assert after[:-1] == before[:-1]
    assert after[-1] == before[-1] + 1


def test_a_write_that_takes_too_long_is_a_sentence(live, canary, monkeypatch):
    """While an evaluation is being written a word waits; when that takes too long it says so and leaves nothing."""
    low = ids(canary)["LowCash"]
    monkeypatch.setattr("monitor.store.BUSY_MS", 50)
    with live.memory.live.transaction():
        code, _, err = canary("ack", low)
    assert (code, "another process is writing" in err, "nothing was written" in err) == (2, True, True)
    assert json.loads(canary("silence", "--list", "--json")[1])["said"] == []
    assert canary("ack", low)[0] == 0


def test_a_database_of_another_shape_is_left_alone(recorded, canary):
    """A word never brings a database up to date: that is for the daemon, which owns it."""
    path = recorded / "state" / "recorded.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    (recorded / "state" / "canary.sqlite").unlink()
    code, _, err = canary("silence", "alpha", "--for", "1d")
    assert (code, "start Canary once as the writer" in err) == (2, True)
    assert not (recorded / "state" / "canary.sqlite").exists()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_the_words_are_listed(canary):
    """The four words are among the commands `list` shows, with their file."""
    found = {row["name"]: row["file"] for row in json.loads(canary("list", "commands", "--json")[1])["commands"]}
    assert {found[name] for name in ("alerts", "ack", "silence", "unsilence")} == {"monitor/alert_commands.py"}


def test_an_unread_edit_does_not_stop_an_ack(recorded, canary):
    """While somebody's rule file cannot be read, alerts are shown, acknowledged and silenced by id all the same."""
    (recorded / "rules" / "mine.yaml").write_text("- alert: [")
    low = ids(canary)["LowCash"]
    assert canary("ack", low)[0] == 0
    assert canary("silence", low, "--for", "1d")[0] == 0
    assert canary("silence", "LowCash", "--for", "1d")[0] == 2


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ack", "zzz"], "canary alerts shows their ids"),
        (["ack", "?d"], "did you mean"),
        (["silence", "alhpa", "--for", "1d"], "did you mean 'alpha'?"),
        (["silence", "LowCahs", "--for", "1d"], "did you mean 'LowCash'?"),
        (["silence", "LowCash/alhpa", "--for", "1d"], "no borrower 'alhpa'; did you mean 'alpha'?"),
        (["silence", "LowCash/", "--for", "1d"], "no borrower ''"),
        (["ack", ""], "no alert ''"),
        (["silence", "alpha"], "at most 30d"),
        (["silence", "--for", "1d"], "write MATCH --for SPAN"),
        (["silence", "alpha", "--list"], "--list shows all"),
        (["silence", "alpha", "--for", "8d"], "critical alerts lasts at most 7 d"),
        (["silence", "LowCash", "--for", "8d"], "critical alerts lasts at most 7 d"),
        (["silence", "LittleCash", "--for", "31d"], "lasts at most 30 d"),
        (["silence", "alpha", "--for", "0"], "a second or more"),
        (["silence", "alpha", "--for", "25%"], "not a length of time"),
        (["silence", "alpha", "--for", "-1d"], "negative"),
        (["unsilence", "alpha"], "nothing is silenced"),
    ],
)
def test_mistakes_are_sentences(recorded, canary, arguments, says):
    """Wrong ids, names and lengths of time say what to write, exit with 2, and nothing is written."""
    low = ids(canary)["LowCash"]
    code, _, err = canary(*(word.replace("?", low[:3]) for word in arguments))
    assert code == 2
    assert says in err
    assert json.loads(canary("silence", "--list", "--json")[1])["said"] == []


def test_what_covers_an_alert_is_named(recorded, canary):
    """Taking back a silence an alert does not have itself names the ones that cover it."""
    canary("silence", "alpha", "--for", "1d")
    code, _, err = canary("unsilence", ids(canary)["LowCash"])
    assert (code, "end what covers it by number: 1 (silence of alpha)" in err) == (2, True)
    assert "did you mean 'alpha'?" in canary("unsilence", "alhpa")[2]


def test_an_ended_alert_cannot_be_acknowledged(recorded, canary):
    """An ack is about an episode: of an alert that is over there is none."""
    unknown = json.loads(canary("alerts", "--all", "--json")[1])["alerts"][-1]
    code, _, err = canary("ack", unknown["id"])
    assert (code, "nothing to acknowledge" in err) == (2, True)
    assert alerts_of(recorded / "nowhere", datetime.now(UTC)) is None


# ---------------------------------------------------------------- pure
AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_spans_have_ends():
    """Thirty days is the most, a week where something critical can be covered; what is no span is said."""
    assert span_of("30d", "warning", "a silence") == timedelta(days=30)
    for text, severity in (("30.1d", "info"), ("169h", "critical"), ("1e999d", "info"), ("soon", "info")):
        with pytest.raises(CanaryError):
            span_of(text, severity, "a silence")


def test_a_borrower_can_be_critical_when_any_rule_is():
    """A silence over a borrower or its facility is held to the loudest rule there is; one rule to its own."""
    none = Alerts(AT, False, AT, (), ())
    rules = {"A": "info", "B": "warning"}
    said, severity = silence_of("acme", none, rules, ["acme"])
    assert (said.subject, said.rule, severity) == ("acme", "", "warning")
    said, severity = silence_of("A/acme", none, rules, ["acme"])
    assert (said.subject, said.rule, severity) == ("acme", "A", "info")
    assert silence_of("market", none, {**rules, "C": "critical"}, [])[1] == "critical"


def test_why_a_route_was_not_told():
    """Per route the last reason; a route told since has none; without any decision that is said."""
    from monitor.model import AlertState

    state = AlertState("R", "acme", "firing", fired_at=AT, short_id="abcd")
    event = Event("e", "R", "acme", "warning", "fired", AT, "", "pending", "firing", short_id="abcd")
    decisions = {
        "e": [
            Decision("e", "desk", False, "quiet hours"),
            Decision("e", "boss", False, "inhibited by Q"),
            Decision("e", "mail", True, "it fired", "m"),
            Decision("e", "desk", False, "silenced by ann"),
        ]
    }
    assert unsaid(state, [event], decisions, []) == {"boss": "inhibited by Q", "desk": "silenced by ann"}
    told = [Told("boss", "abcd", True, AT)]
    assert unsaid(state, [event], decisions, told) == {"desk": "silenced by ann"}
    assert "first looked" in unsaid(state, [event], {}, [])[""]
    assert unsaid(state, [event], {}, told) == {}
    assert Standing(state, "warning", {}).since == AT
