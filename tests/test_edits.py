"""One value of a rule changes and nothing else, found by its marks in whatever file, and taken back whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.edits import Key, Place, diff, find_rule, make, places
from monitor.model import CanaryError
from monitor.rulefile import load_rule_texts
from monitor.units import parse_duration_s
from monitor.values import NameInfo
from monitor.weakening import Past, agreed_on, weakened
from monitor.yamltext import Text, parse_tree, read_file

NAMES = {
    "ltv": NameInfo("borrower", "ratio"),
    "cash_usd": NameInfo("borrower", "usd"),
    "cds_bp": NameInfo("borrower", "bp"),
}
KEYS: tuple[Key, ...] = ("for", "keep_firing_for", "severity", "expr", "clear")
STARTER = sorted((Path(__file__).parents[1] / "rules").glob("*.yaml"))

# ---------------------------------------------------------------- files as people write them
WAITS = st.sampled_from(["15m", "4h", "7d", "90min", "0", "1.5d", "2w"])
LINES = st.sampled_from(["90%", "1.05", "0.8", "120%", ".5", "-40%"])
NOISE = st.sampled_from(["", "  # größer: \u00e4 # 50%", "   ", "  # for: 9d"])
QUOTES = st.sampled_from(["", "'", '"'])


@st.composite
def rule_files(draw: st.DrawFn) -> str:
    """One file of one to three rules, in block or flow style, with quotes, folded text, remarks and any line ends."""
    parts = [draw(st.sampled_from(["", "# Regeln f\u00fcr Ad\u00e8le\n", "\n\n"]))]
    for number in range(draw(st.integers(1, 3))):
        parts.append(draw(st.sampled_from([_block, _flow]))(draw, number))
        parts.append(draw(st.sampled_from(["", "\n", "# between\n"])))
    text = "".join(parts)
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def _condition(draw: st.DrawFn) -> str:
    first = f"ltv {draw(st.sampled_from(['<', '>', '>=']))} {draw(LINES)}"
    second = f"cds_bp {draw(st.sampled_from(['<', '>']))} {draw(st.sampled_from(['300bp', '75', '500bp']))}"
    return f"{first} {draw(st.sampled_from(['and', 'or']))} {second}" if draw(st.booleans()) else first


def _block(draw: st.DrawFn, number: int) -> str:
    noise, quote = draw(NOISE), draw(QUOTES)
    expr = _condition(draw)
    style = draw(st.sampled_from(["plain", "quoted", "folded", "two lines"]))
    if style == "folded":
        shown = f">-\n    {expr}\n"
    elif style == "two lines":
        shown = expr.replace(" and ", "\n    and ").replace(" or ", "\n    or ") + "\n"
    else:
        shown = f"{quote}{expr}{quote}{noise}\n"
    lines = [f"- alert: Rule{number}{noise}\n", f"  expr: {shown}"]
    if draw(st.booleans()):
        lines.append(f"  for: {quote}{draw(WAITS)}{quote}{noise}\n")
    if draw(st.booleans()):
        lines.append(f"  clear: {_condition(draw)}{noise}\n")
    lines.append(f"  severity: {quote}{draw(st.sampled_from(['info', 'warning', 'critical']))}{quote}{noise}\n")
    lines.append('  summary: "Borg\u00e5: {ltv:.0%} \u2192 \\u00e9"\n')
    return "".join(lines)


def _flow(draw: st.DrawFn, number: int) -> str:
    wait = f", for: {draw(WAITS)}" if draw(st.booleans()) else ""
    return f"- {{alert: Rule{number}, expr: '{_condition(draw)}'{wait}, severity: info, summary: '\u00fc {{ltv}}'}}\n"


def value_for(draw: st.DrawFn, key: Key) -> str:
    """Something that may stand there."""
    if key == "severity":
        return draw(st.sampled_from(["info", "warning", "critical"]))
    return draw(WAITS if key in ("for", "keep_firing_for") else LINES)


# ---------------------------------------------------------------- the law
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_only_the_characters_of_the_value_change_and_undo_restores_every_byte(data: st.DataObject) -> None:
    """What stands before and after the value is the same bytes; the edit taken back gives the file as it was."""
    text = Text(data.draw(rule_files()), "mine.yaml")
    rules = [rule["alert"] for rule in parse_tree(text).plain()]
    rule, key = data.draw(st.sampled_from(rules)), data.draw(st.sampled_from(KEYS))
    found = places(text, find_rule({"mine.yaml": text}, rule)[1], rule, key)
    assume(found)
    place = data.draw(st.sampled_from(found))
    try:
        edit = make(text, place, data.draw(st.composite(lambda draw: value_for(draw, key))()))
    except CanaryError as error:
        assert "already" in str(error)
        return
    after = edit.of(text.text)
    before_bytes, after_bytes = text.text.encode(), after.encode()
    start = len(text.text[: place.start].encode())
    assert after_bytes[:start] == before_bytes[:start]
    assert after_bytes[start + len(edit.new.encode()) :] == before_bytes[start + len(place.text.encode()) :]
    assert edit.back.of(after).encode() == before_bytes
    assert ("\r\n" in edit.new) == ("\n" in edit.new and "\r\n" in text.text), "a new line ends as the others do"
    new, old = parse_tree(Text(after, "mine.yaml")).plain(), parse_tree(text).plain()
    for one in (new, old):
        next(r for r in one if r["alert"] == rule).pop(key, None)
    assert new == old


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_edited_rule_loads_with_the_new_value(data: st.DataObject) -> None:
    """The rule read from the edited text has the new wait; every other rule and every other value is as before."""
    text = Text(data.draw(rule_files()), "mine.yaml")
    rule = data.draw(st.sampled_from([rule["alert"] for rule in parse_tree(text).plain()]))
    place = places(text, find_rule({"": text}, rule)[1], rule, "for")[0]
    wait = data.draw(WAITS)
    try:
        after = make(text, place, wait).of(text.text)
    except CanaryError:
        return
    old = {one.id: one for one in load_rule_texts({"mine.yaml": text.text}, NAMES, ())}
    new = {one.id: one for one in load_rule_texts({"mine.yaml": after}, NAMES, ())}
    assert new[rule].for_s == parse_duration_s(wait)
    assert {name: (one.expr, one.clear, one.severity) for name, one in old.items()} == {
        name: (one.expr, one.clear, one.severity) for name, one in new.items()
    }


@pytest.mark.parametrize("path", STARTER, ids=lambda path: path.name)
def test_every_value_of_the_rules_that_ship_can_be_edited_and_taken_back(path: Path) -> None:
    """Whatever the starter rules look like, each of their values is found and restored."""
    text = read_file(path)
    count = 0
    for node in parse_tree(text).value:
        rule = node.value["alert"].value
        for key in KEYS:
            for place in places(text, node, rule, key):
                value = {"for": "3h", "keep_firing_for": "2h"}.get(key, "7.25%")
                if key == "severity":
                    value = "info" if place.text != "info" else "warning"
                edit = make(text, place, value)
                assert edit.back.of(edit.of(text.text)) == text.text
                count += 1
    assert count > 10


def test_numbers_inside_words_are_no_thresholds() -> None:
    """The days of change() and the sides of 1 > 0 are not offered; a factor is, and a minus belongs to its number."""
    text = Text(
        "- {alert: R, expr: 'change(ltv, 30d) < - 40% and 1 > 0 and cash_usd < 90% * cds_bp', severity: info}", "r"
    )
    found = places(text, find_rule({"": text}, "R")[1], "R", "expr")
    assert [(place.name, place.text, place.weaker) for place in found] == [
        ("expr 1", "- 40%", "lower"),
        ("expr 2", "90%", "any"),
    ]


@pytest.mark.parametrize(
    ("expr", "key", "weaker"),
    [
        ("ltv > 90%", "expr", "higher"),
        ("ltv < 90%", "expr", "lower"),
        ("90% < ltv", "expr", "higher"),
        ("not ltv > 90%", "expr", "lower"),
        ("not (known(ltv) and not ltv > 90%)", "expr", "higher"),
        ("ltv == 90%", "expr", "any"),
        ("ltv > 90%", "clear", "lower"),
        ("ltv < 90%", "clear", "higher"),
    ],
)
def test_the_way_a_line_moves_when_the_rule_says_less_is_known(expr: str, key: Key, weaker: str) -> None:
    """A line in expr is weaker away from firing, in clear where recovery is nearer; every not turns it round."""
    text = Text(f"- {{alert: R, expr: 'ltv > 1', {'clear' if key == 'clear' else 'why'}: x, severity: info}}", "r")
    text = Text(text.text.replace("x", f"'{expr}'") if key == "clear" else text.text.replace("ltv > 1", expr), "r")
    assert [place.weaker for place in places(text, find_rule({"": text}, "R")[1], "R", key)] == [weaker]


# ---------------------------------------------------------------- hostile input
ONE = Text("- alert: R\n  expr: ltv > 90%\n  for: 1d\n  severity: info\n  summary: x\n", "r.yaml")
HOSTILE = [
    "4h\n  severity: critical",
    "4h # off",
    "!!python/object:os.system",
    "*anchor",
    "{a: 1}",
    "1" * 50,
    "4h'",
    "\u202e4h",
    "\u0664h",
    "nan",
    "inf",
    "-4h",
    "1e999d",
    "",
    "100000d",
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("key", ["for", "expr", "severity"])
def test_what_is_no_value_of_its_kind_is_refused_in_words(value: str, key: Key) -> None:
    """No YAML, no other digits, nothing hidden, nothing endless gets into a file through a value."""
    place = places(ONE, find_rule({"": ONE}, "R")[1], "R", key)[0]
    if (key, value) in {("expr", "-4h"), ("expr", "100000d")}:  # numbers: whether they fit is for the compiler to say
        return
    with pytest.raises(CanaryError):
        make(ONE, place, value)


@given(st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_text_is_refused_or_changes_one_value(value: str) -> None:
    """Whatever somebody types, the file stays a file of the same rules with at most one other value."""
    for key in ("for", "expr", "severity"):
        place = places(ONE, find_rule({"": ONE}, "R")[1], "R", key)[0]
        try:
            after = make(ONE, place, value).of(ONE.text)
        except CanaryError:
            continue
        rule = parse_tree(Text(after, "r.yaml")).plain()
        assert len(rule) == 1
        assert rule[0].keys() == parse_tree(ONE).plain()[0].keys()


def test_an_edit_that_would_change_more_than_its_value_is_refused() -> None:
    """Where keys are written in a way a new line would break, nothing is written."""
    text = Text("- alert: R\n  expr: ltv > 90%\n  ? severity\n  : info\n", "r.yaml")
    place = places(text, find_rule({"": text}, "R")[1], "R", "for")[0]
    with pytest.raises(CanaryError):
        make(text, place, "4h")
    wrong = Place("R", "expr", text.text.index("ltv"), text.text.index("ltv") + 3, "ltv", 1)
    with pytest.raises(CanaryError, match="cannot be changed by itself"):
        make(text, replace(wrong, number=0), "1.5")


def test_a_value_written_with_escapes_is_left_to_its_author() -> None:
    """Where characters of the file are not characters of the value, nothing is guessed."""
    text = Text('- {alert: R, expr: "ltv \\u003e 90%", severity: info}', "r.yaml")
    with pytest.raises(CanaryError, match="escapes"):
        places(text, find_rule({"": text}, "R")[1], "R", "expr")


def test_a_diff_shows_the_line_and_nothing_far_from_it() -> None:
    """Two lines around the change, whatever the line ends."""
    old = "".join(f"line {i}\r\n" for i in range(9))
    assert diff(old, old.replace("line 4", "other"), "f").split("\n")[2:] == [
        "@@ -3,5 +3,5 @@",
        " line 2",
        " line 3",
        "-line 4",
        "+other",
        " line 5",
        " line 6",
    ]


# ---------------------------------------------------------------- weaker
def test_little_by_little_counts_from_what_two_agreed_on() -> None:
    """Doubling a wait every day is seen as what it is; an edit that two agreed on starts the count afresh."""
    past = [Past("for", "2d", "4d", False), Past("expr 1", "1", "2", False), Past("for", "1d", "2d", False)]
    place = Place("R", "for", 0, 2, "4d", weaker="higher")
    assert agreed_on(place, past) == "1d"
    assert weakened(place, agreed_on(place, past), "5d")
    assert not weakened(place, agreed_on(place, [Past("for", "2d", "4d", True)]), "8d")
    failed = [Past("for", "4d", "9d", False), *past]
    assert agreed_on(place, failed) == "1d", "an edit that never reached the file hides nothing"


@pytest.mark.parametrize(
    ("place", "was", "now", "weaker"),
    [
        (Place("R", "severity", 0, 1, "x"), "critical", "warning", True),
        (Place("R", "severity", 0, 1, "x"), "warning", "critical", False),
        (Place("R", "for", 0, 1, ""), "", "60m", False),
        (Place("R", "for", 0, 1, ""), "", "61m", True),
        (Place("R", "for", 0, 1, "1d"), "1d", "0", False),
        (Place("R", "keep_firing_for", 0, 1, "2d"), "2d", "1d", False),
        (Place("R", "keep_firing_for", 0, 1, "2d"), "2d", "23h", True),
        (Place("R", "keep_firing_for", 0, 1, "2d"), "2d", "", True),
        (Place("R", "expr", 0, 1, "", 1, weaker="higher"), "90%", "99%", False),
        (Place("R", "expr", 0, 1, "", 1, weaker="higher"), "90%", "99.1%", True),
        (Place("R", "expr", 0, 1, "", 1, weaker="higher"), "90%", "10%", False),
        (Place("R", "expr", 0, 1, "", 1, weaker="lower"), "- 40%", "-44%", False),
        (Place("R", "expr", 0, 1, "", 1, weaker="lower"), "-40%", "-45%", True),
        (Place("R", "expr", 0, 1, "", 1, weaker="higher"), "0", "0.001", True),
        (Place("R", "expr", 0, 1, "", 1, weaker="any"), "90%", "80%", True),
        (Place("R", "expr", 0, 1, "", 1, weaker="higher"), "75bp", "75", True),
        (Place("R", "clear", 0, 1, "", 1, weaker="lower"), "1.2", "1.05", True),
    ],
)
def test_what_one_person_may_do_to_a_critical_rule_ends_where_it_says(
    place: Place, was: str, now: str, weaker: bool
) -> None:
    """Twice the wait or an hour, half of keeping, a tenth of a line; any other unit counts as weaker."""
    assert bool(weakened(place, was, now)) is weaker
