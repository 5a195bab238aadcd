"""The same days with other rules: every alarm is the same, new, gone or moved, and none is lost in the telling."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import RULE, lay_desk
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.cli import run_line
from monitor.model import CanaryError, Rule
from monitor.replay_command import change_table, run_replay
from monitor.replay_compare import Change, change_json, compare_episodes, compare_rules
from monitor.scoring import Episode
from monitor.shell import Shell

T0 = datetime(2026, 8, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def alarm(began: int, ended: int | None, rule: str = "R", subject: str = "acme", severity: str = "warning") -> Episode:
    """An alarm from one day to another."""
    end = None if ended is None else T0 + ended * DAY
    return Episode(rule, subject, severity, T0 + began * DAY, end, {})  # type: ignore[arg-type]


def told(change: Change) -> tuple[int, int, int, int]:
    """Same, new, gone, moved."""
    return change.same, len(change.new), len(change.gone), len(change.moved)


# ---------------------------------------------------------------- the comparison
@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ([(1, 5)], [(1, 5)], (1, 0, 0, 0)),
        ([(1, 5)], [(2, 5)], (0, 0, 0, 1)),
        ([(1, 5)], [(1, None)], (0, 0, 0, 1)),
        ([(1, 5)], [], (0, 0, 1, 0)),
        ([], [(1, None)], (0, 1, 0, 0)),
        ([(1, 5)], [(5, 9)], (0, 1, 1, 0)),
        ([(1, 3), (4, 6), (8, None)], [(1, 6), (8, None)], (1, 0, 1, 1)),
        ([(1, 9)], [(1, 3), (4, 6)], (0, 1, 0, 1)),
    ],
)
def test_alarms_that_overlap_are_the_same_alarm(was, now, says):
    """Equal is the same, overlapping has moved, anything else is new or gone."""
    [change] = compare_episodes([alarm(*span) for span in was], [alarm(*span) for span in now])
    assert told(change) == says


def test_severity_and_facility_count():
    """A louder alarm has moved; one facility's alarm is not another's, but both are told under the borrower."""
    [louder] = compare_episodes([alarm(1, 5)], [alarm(1, 5, severity="critical")])
    assert told(louder) == (0, 0, 0, 1)
    [pools] = compare_episodes([alarm(1, 5, subject="acme/a")], [alarm(1, 5, subject="acme/b")])
    assert (pools.borrower, told(pools)) == ("acme", (0, 1, 1, 0))
    text = " ".join(cell.text for cell in change_table([pools], compare_rules([], []), Path("x")).rows[0])
    assert "new b 2026-08-02 to 2026-08-06; gone a 2026-08-02 to 2026-08-06" in text


@st.composite
def histories(draw: st.DrawFn) -> list[Episode]:
    """What a replay can give: the alarms of one alert follow each other, the last may stand."""
    found = []
    for rule in ("A", "B"):
        for subject in ("acme", "acme/pool", "other"):
            days = sorted(draw(st.lists(st.integers(0, 40), unique=True, max_size=6)))
            spans = list(zip(days[::2], [*days[1::2], None][: len(days[::2])], strict=True))
            found += [alarm(began, ended, rule, subject) for began, ended in spans]
    return found


@settings(max_examples=60, deadline=None)
@given(histories(), histories())
def test_every_alarm_is_told_exactly_once(was, now):
    """Counts add up to both replays, and looking the other way turns new into gone."""
    changes, back = compare_episodes(was, now), compare_episodes(now, was)
    assert sum(change.counts[0] for change in changes) == len(was)
    assert sum(change.counts[1] for change in changes) == len(now)
    mirrored = [(c.rule, c.borrower, c.same, c.gone, c.new, len(c.moved)) for c in back]
    assert mirrored == [(c.rule, c.borrower, c.same, c.new, c.gone, len(c.moved)) for c in changes]
    assert not any(change.differs for change in compare_episodes(was, was))
    assert json.dumps([change_json(change) for change in changes])


def test_rules_are_compared_by_what_they_decide():
    """Added, taken out, and edited rules are named; a new summary is no edit, a new severity is."""
    rules = [Rule(name, "x > 1", "warning", logic_hash=name) for name in ("A", "B", "C", "D")]
    edited = [replace(rules[1], logic_hash="other"), replace(rules[2], severity="critical")]
    now = [*edited, replace(rules[3], summary="in other words"), Rule("E", "x > 2", "info")]
    assert compare_rules(rules, now) == (("E",), ("A",), ("B", "C"))


# ---------------------------------------------------------------- the command
@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A desk, and beside it a folder whose rule waits two days longer and one that is new."""
    folder = lay_desk(tmp_path_factory.mktemp("compare") / "desk")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(f"{text}routes: [{{name: me, channel: console, rules: [LowCash, Steady]}}]\n")
    steady = RULE.replace("LowCash", "Steady")
    (folder / "rules" / "mine.yaml").write_text(RULE + steady)
    other = folder / "other"
    other.mkdir()
    slow = RULE.replace("  severity", "  for: 2d\n  severity")
    fresh = RULE.replace("LowCash", "Fresh").replace("critical", "warning")
    (other / "mine.yaml").write_text(slow + fresh)
    return folder


def test_the_command_says_what_other_rules_change(desk, capsys):
    """As data: what moved by two days, what is new, and what went with its rule, although a route names it."""
    shell = Shell(config_path=str(desk / "config.yaml"), offline=True, as_json=True)
    assert run_replay(shell, start="2026-08-20", end="2026-08-26", compare=desk / "other") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rules"] == {"new": ["Fresh"], "gone": ["Steady"], "edited": ["LowCash"]}
    by_rule = {row["rule"]: row for row in said["alarms"]}
    [moved] = by_rule["LowCash"]["moved"]
    began = [datetime.fromisoformat(moved[side]["began"]) for side in ("was", "now")]
    assert began[1] - began[0] == 2 * DAY
    assert [len(by_rule[name][what]) for name, what in (("Fresh", "new"), ("Steady", "gone"))] == [1, 1]
    assert said["inputs"]["was"] != said["inputs"]["now"]


def test_the_command_line_shows_a_table(desk, capsys):
    """For people: counts in the title and dates in the rows; the same rules change nothing."""
    line = ["--config", str(desk / "config.yaml"), "--offline", "replay", "--from", "2026-08-20", "--to", "2026-08-24"]
    assert run_line([*line, "--compare", str(desk / "other"), "alpha"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "alarms: 1 new, 1 gone, 1 moved" in out
    assert "REPLAY 2026-08-20 to 2026-08-24" in out
    assert "rules edited: LowCash" in out
    assert run_line([*line, "--compare", str(desk / "rules")]) == 0
    assert "alarms: 0 new, 0 gone, 0 moved" in capsys.readouterr().out
    assert run_line([*line, "--compare", str(desk / "other"), "--out", str(desk / "out")]) == 2
    assert run_line([*line, "--compare", str(desk / "gone")]) == 2


def test_mistakes_in_the_other_folder_are_said_before_anything_is_replayed(desk, tmp_path):
    """A rule there that cannot be read is a sentence with its file and line; so is a folder that is none."""
    shell = Shell(config_path=str(desk / "config.yaml"), offline=True)
    (tmp_path / "bad.yaml").write_text(RULE.replace("cash_unrestricted_usd <", "cash_unrestricted_us <"))
    with pytest.raises(CanaryError, match=r"bad.yaml:2"):
        run_replay(shell, compare=tmp_path)
    with pytest.raises(CanaryError, match="no such folder"):
        run_replay(shell, compare=tmp_path / "gone")
