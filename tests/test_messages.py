"""What a message says and in which order, and that no text, however hostile, leaves a channel's limits."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.markup import ROW_CHARACTERS, TELEGRAM_UNITS, clean, html, plain, rows_of, utf16_units, without_markup
from monitor.messages import (
    Context,
    Deadline,
    Holding,
    Reading,
    Restore,
    Sheet,
    compose,
    digest,
    first_look,
    lines_of_rule,
    notice,
    read_numbers,
    resolved,
)
from monitor.model import Column, Event, Line, Message, Numbers, Quote, Rule

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
RULE = Rule(
    id="NonRecourseUnderwater",
    expr="spv_ltv_economic > 1.1 and spv_dscr < 1.0 and recourse_share < 50%",
    severity="critical",
    each="facility",
    do="Read the guarantee and its end date, then the escrow cash. Call the agent; tell nobody else.",
)
EVENT = Event(
    id="e1",
    rule="NonRecourseUnderwater",
    subject="acme/rig-loan",
    severity="critical",
    kind="fired",
    at=NOW,
    reason="",
    before="pending",
    after="firing",
    short_id="k3f9",
    values={"spv_ltv_economic": 1.5, "spv_dscr": 0.29, "recourse_share": None},
)
CONTEXT = Context(
    event=EVENT,
    borrower="Acme Mining",
    rule=RULE,
    summary="Acme Mining / rig loan: market LTV 150%, DSCR 0.29x on limited recourse: the owner may walk away",
    entity="Acme Rigs 3 Ltd",
    instrument="Rig loan (equipment)",
    size_usd=71e6,
    recourse="limited",
    readings=(
        Reading("spv_ltv_economic", 1.5, "ratio", (">", 1.1), "", 0.98, date(2026, 9, 30), 1.32, 1.66, 54 * 86400.0),
        Reading("spv_dscr", 0.29, "x", ("<", 1.0), "", 1.1, date(2026, 6, 30), detail="quarter to 2026-09-30"),
        Reading("recourse_share", 0.0, "ratio", ("<", 0.5)),
    ),
    true_since=NOW - timedelta(days=8),
    next=Deadline("interest and principal of Rig loan", datetime(2026, 11, 8, tzinfo=UTC), 4.2e6, ("Notes 2027",)),
    restores=(Restore("btc_usd", 96_400.0, "usd", 19e6, "LTV back to 110%"),),
    sheet=Sheet(date(2026, 9, 30), "2026-10-28", "filing", "Form 10-Q"),
    prices=(Quote("btc_usd", "market", 58_524.0, "usd", NOW - timedelta(minutes=3), NOW, "two venues"),),
    holdings=(Holding("Notes 2027", 2.5e6, 41.25, date(2026, 10, 30), "desk"),),
)
MESSAGE = Message("m1", "desk", "console", "", "fired", "critical", "T", (), NOW)


def text_of(title: str, lines: tuple[Line, ...]) -> str:
    return plain(replace(MESSAGE, title=title, lines=lines))


# ---------------------------------------------------------------- one message
GOLDEN = """\
CRITICAL Acme Rigs 3 Ltd (Acme Mining), Rig loan (equipment), 71.0m USD, limited recourse
  own         Notes 2027: 2.5m USD, last quote 41.25 % of par on 2026-10-30 (desk)
  alert       NonRecourseUnderwater fired #k3f9
              Acme Mining / rig loan: market LTV 150%, DSCR 0.29x on limited recourse: the owner may walk away
  now         spv_ltv_economic 150.0%, line > 110.0%; was 98.0% until 2026-09-30 (54 d old)
              spv_dscr 0.29x, line < 1.00x; was 1.10x until 2026-06-30 (quarter to 2026-09-30)
              recourse_share 0.0%, line < 50.0%
  since       true since 2026-10-24 12:00 UTC (8 d); fired 2026-11-01 12:00 UTC
  next        interest and principal of Rig loan by 2026-11-08 00:00 UTC (in 6 d), 4.2m USD; cross-defaults: Notes 2027
  restores    btc_usd at 96,400 USD or 19.0m USD: LTV back to 110%
  range       holds at both ends of the assumptions: yes (spv_ltv_economic 132.0% to 166.0%)
  sheet       as of 2026-09-30 (32 d old), published 2026-10-28, filing: Form 10-Q
  price       btc_usd 58,524 USD, 3 min old (two venues)
  do          1. Read the guarantee and its end date, then the escrow cash
              2. Call the agent"""


def test_a_critical_message_reads_like_this() -> None:
    """The whole message, as a terminal shows it, in the order a desk reads it."""
    assert text_of(*compose("fired", "critical", [CONTEXT], NOW)) == GOLDEN


def test_what_was_true_at_the_first_look_may_be_older() -> None:
    """A beginning nobody saw is not given as one."""
    _, lines = compose("fired", "critical", [replace(CONTEXT, maybe_longer=True)], NOW)
    said = "true since 2026-10-24 12:00 UTC or earlier (8 d); fired 2026-11-01 12:00 UTC"
    assert next(line.text for line in lines if line.label == "since") == said


def test_the_order_does_not_depend_on_what_is_known() -> None:
    """With nothing known the labels keep their order and every gap is a question mark with its reason."""
    bare = Context(EVENT, "Acme Mining", RULE, readings=(Reading("spv_dscr", None, "x", ("<", 1.0), "no cash flow"),))
    title, lines = compose("fired", "critical", [bare], NOW)
    assert title == "CRITICAL Acme Mining, instrument ?, ?, recourse ?"
    assert [line.label for line in lines if line.label] == [
        "alert",
        "now",
        "since",
        "next",
        "restores",
        "range",
        "sheet",
        "do",
    ]
    by_label = {line.label: line.text for line in lines}
    assert by_label["now"] == "spv_dscr ? (no cash flow), line < 1.00x"
    assert by_label["since"] == "true since ?; fired 2026-11-01 12:00 UTC"
    assert by_label["next"] == "? (no dated obligation is known)"
    assert by_label["restores"] == "? (not worked out for this rule)"
    assert by_label["range"] == "holds at both ends of the assumptions: ? (a number is unknown)"
    assert by_label["sheet"] == "as of ? (no dated balance sheet is known)"


def test_one_sentence_gives_two_actions_where_it_says_then() -> None:
    """A rule that writes its two actions as one sentence still shows two."""
    rule = replace(RULE, do="Read the guarantee, then the escrow cash.")
    _, lines = compose("fired", "critical", [replace(CONTEXT, rule=rule)], NOW)
    assert [line.text for line in lines[-2:]] == ["1. Read the guarantee", "2. Then the escrow cash"]


def test_unknown_prices_deadlines_and_ways_back_say_so() -> None:
    """An unknown figure inside a known line is a question mark, never a zero."""
    dark = Quote(
        "rent_h100_index_usd", "market", float("nan"), "usd/gpu-hour", None, None, "index", "withheld: panel of 2"
    )
    doubt = replace(CONTEXT.prices[0], in_doubt="58,524 against 71,000 before", restated=True)
    context = replace(
        CONTEXT,
        prices=(dark, doubt),
        next=Deadline("put of Notes 2027", None, None, reason="its date is not disclosed"),
        restores=(Restore(reason="the service of the debt is unknown"),),
        holdings=(Holding("Notes 2027", 2.5e6),),
        sheet=replace(CONTEXT.sheet, publication="?"),  # type: ignore[type-var]
    )
    text = text_of(*compose("fired", "critical", [context], NOW))
    assert "rent_h100_index_usd ? (withheld: panel of 2)" in text
    assert "(two venues; restated; in doubt: 58,524 against 71,000 before)" in text
    assert "put of Notes 2027 by ?, ? (its date is not disclosed); cross-defaults: none known" in text
    assert "restores    ? (the service of the debt is unknown)" in text
    assert "last quote ?" in text
    assert "published ?, filing: Form 10-Q" in text


def test_recorded_prices_say_so_in_the_title() -> None:
    """RECORDED and the date stand in the first line of every kind of message."""
    context = replace(CONTEXT, recorded_on=date(2026, 10, 5))
    for title, _ in (
        compose("fired", "critical", [context], NOW),
        resolved([replace(context, event=replace(EVENT, kind="resolved"))], NOW),
        digest([context], NOW),
        first_look([context], NOW),
        first_look([], NOW, recorded_on=date(2026, 10, 5)),
        notice("info", "nothing to fetch", recorded_on=date(2026, 10, 5)),
    ):
        assert title.startswith("RECORDED 2026-10-05 ")
    assert plain(replace(MESSAGE, recorded=True)) == "RECORDED T"
    assert plain(replace(MESSAGE, possibly_repeated=True)) == "T (possibly repeated)"


def test_reminder_flaps_book_changes_and_lost_data_are_told() -> None:
    """What makes this message differ from the first one stands in its first lines."""
    lost = replace(EVENT, kind="nodata", reason="recourse_share is unknown since 2026-10-30", because="")
    context = replace(CONTEXT, event=lost, flaps=2, because="the book changed: debt_usd 24.86bn -> 35.55bn (10-Q)")
    title, lines = compose("reminder", "critical", [context], NOW)
    assert title.startswith("CRITICAL (reminder) Acme Rigs 3 Ltd")
    text = text_of(title, lines)
    assert "NonRecourseUnderwater lost its data #k3f9" in text
    assert "it flapped: 2 times since the last message: recourse_share is unknown since 2026-10-30" in text
    assert "restores" not in text, "what follows from a condition is not told when the condition is unknown"
    assert "because     the book changed: debt_usd 24.86bn -> 35.55bn (10-Q)" in text


def test_market_and_borrower_alerts_name_no_instrument() -> None:
    """An alert about a whole borrower shows all its debt; one about the market stands on no balance sheet."""
    borrower = replace(CONTEXT, event=replace(EVENT, subject="acme"), entity="", instrument="", size_usd=None)
    assert compose("fired", "warning", [borrower], NOW)[0] == "WARNING Acme Mining, ? of debt"
    market = replace(borrower, event=replace(EVENT, subject="market", rule="PriceInDoubt"), borrower="", sheet=None)
    title, lines = compose("fired", "warning", [market], NOW)
    assert title == "WARNING market: PriceInDoubt"
    assert "sheet" not in [line.label for line in lines]


# ---------------------------------------------------------------- both ends
@pytest.mark.parametrize(
    ("expr", "low", "high", "answer"),
    [
        ("a > 1.1", 1.2, 1.6, "yes (a 120.0% to 160.0%)"),
        ("a > 1.1", 1.0, 1.6, "no (a 100.0% to 160.0%)"),
        ("a > 1.1 or b > 2", 1.0, 1.6, "? (the rule has alternatives; a 100.0% to 160.0%)"),
        ("a > 1.1 or b > 2", 1.2, 1.6, "yes (a 120.0% to 160.0%)"),
        ("a - b > 1.1", 1.0, 1.6, "? (the rule compares more than single numbers; a 100.0% to 160.0%)"),
        ("a > 1.1", None, None, "yes (no assumption entered)"),
        ("a > 1.1", 1.5, 1.5, "yes (no assumption entered)"),
    ],
)
def test_both_ends_of_the_assumptions(expr: str, low: float | None, high: float | None, answer: str) -> None:
    """Yes only where the comparison is true at both ends; a question mark where single numbers cannot tell."""
    rule = replace(RULE, expr=expr)
    reading = Reading("a", 1.5, "ratio", lines_of_rule(expr).get("a"), low=low, high=high)
    _, lines = compose("fired", "critical", [replace(CONTEXT, rule=rule, readings=(reading,))], NOW)
    assert Line("range", f"holds at both ends of the assumptions: {answer}") in lines


def test_a_verdict_from_outside_is_used() -> None:
    """Who evaluated the rule at both ends says so; the message does not guess against it."""
    _, lines = compose("fired", "critical", [replace(CONTEXT, holds=False)], NOW)
    assert Line("range", "holds at both ends of the assumptions: no (spv_ltv_economic 132.0% to 166.0%)") in lines


# ---------------------------------------------------------------- readings
def test_readings_take_units_ranges_and_reasons_from_the_columns() -> None:
    """The judged value stays; unit, range, age, reason and previous value are added from the evaluation."""
    column = Column(
        "spv_ltv_economic", "facility", "ratio", np.array([0.5, 1.5]), np.array([True, True]),
        low=np.array([0.4, 1.32]), high=np.array([0.6, 1.66]), age_s=np.array([np.nan, 3600.0]), detail={1: "rigs"},
    )  # fmt: skip
    share = Column(
        "recourse_share",
        "facility",
        "ratio",
        np.array([0.0, np.nan]),
        np.array([True, False]),
        {1: "recourse is missing"},
    )
    numbers = Numbers(
        NOW,
        {"facility": ("acme/mortgage", "acme/rig-loan"), "borrower": ("acme",), "market": ("market",)},
        {"spv_ltv_economic": column, "recourse_share": share},
    )
    ltv, dscr, recourse = read_numbers(EVENT, RULE, numbers, lambda metric, subject, value: (0.98, date(2026, 9, 30)))
    assert ltv == Reading(
        "spv_ltv_economic", 1.5, "ratio", (">", 1.1), "", 0.98, date(2026, 9, 30), 1.32, 1.66, 3600.0, "rigs"
    )
    assert (dscr.value, dscr.unit, dscr.line) == (0.29, "", ("<", 1.0))
    assert (recourse.value, recourse.reason) == (None, "recourse is missing")
    of_borrower = replace(EVENT, subject="acme", values={"spv_ltv_economic": 1.5})
    assert read_numbers(of_borrower, RULE, numbers)[0].detail == "worst: rig-loan; rigs"
    of_nobody = replace(EVENT, subject="other", values={"spv_ltv_economic": 1.5})
    assert read_numbers(of_nobody, RULE, numbers)[0].low is None


@pytest.mark.parametrize(
    ("expr", "lines"),
    [
        ("due < 0 and not known(x)", {"due": ("<", 0.0)}),
        ("age(hardware_mark) < 90d", {}),
        ("distress_filing_age < 3d", {"distress_filing_age": ("<", 3 * 86400.0)}),
        ("net_cut < 0.5 * sold and change(coins, 90d) < -30%", {}),
        ("ltv_economic > 0.9 and ltv_economic - ltv_contractual > 8%", {"ltv_economic": (">", 0.9)}),
        ("gap > 1.5bn or gap > 2bn", {"gap": (">", 1.5e9)}),
        ("a > b", {}),
        ("a > 5 parsecs", {"a": (">", 5.0)}),
        ("a > 5parsecs", {}),
    ],
)
def test_lines_of_rule(expr: str, lines: dict[str, tuple[str, float]]) -> None:
    """Only a plain name compared with a constant has a line; arithmetic never lends its limit to one of its names."""
    assert lines_of_rule(expr) == lines


# ---------------------------------------------------------------- several events, lists, notices
def test_a_group_is_told_gravest_first_with_shared_lines_once() -> None:
    """Criticals come first, what is over last; one balance sheet and one price are not repeated."""
    warning = replace(CONTEXT, event=replace(EVENT, id="e2", rule="Aging", severity="warning"))
    over = replace(CONTEXT, event=replace(EVENT, id="e3", rule="Zeal", kind="resolved"))
    title, lines = compose("fired", "critical", [over, warning, CONTEXT], NOW)
    assert title == "CRITICAL Acme Mining: 2 fired, 1 resolved"
    alerts = [line.text for line in lines if line.label == "alert"]
    assert alerts == ["NonRecourseUnderwater fired #k3f9", "Zeal resolved #k3f9", "Aging fired #k3f9"]
    labels = [line.label for line in lines]
    assert labels.count("sheet") == labels.count("price") == labels.count("own") == 1
    assert labels.count("do") == 2
    assert labels.count("obligor") == 3


def test_many_events_are_named_and_counted() -> None:
    """The seventh alert of a group is named; a list beyond forty says how many it left out."""
    many = [
        replace(
            CONTEXT, borrower=f"B{i}", event=replace(EVENT, id=f"e{i}", rule=f"R{i:02}", at=NOW + timedelta(seconds=i))
        )
        for i in range(50)
    ]
    title, lines = compose("fired", "critical", many, NOW)
    assert title == "CRITICAL 50 borrowers: 50 fired"
    assert [line.label for line in lines].count("alert") == 6
    assert sum("R06 fired" in line.text for line in lines) == 1
    for told in (digest(many, NOW)[1], first_look(many, NOW)[1]):
        assert any("and 10 more" in line.text for line in told)


def test_a_resolved_message_says_how_long_and_what_it_ended_with() -> None:
    """No actions, no deadline: which alert, how long, and the numbers at its end."""
    over = replace(CONTEXT, event=replace(EVENT, kind="resolved", at=NOW))
    title, lines = compose("resolved", "critical", [over], NOW + timedelta(days=30))
    assert title.startswith("RESOLVED Acme Rigs 3 Ltd (Acme Mining)")
    labels = [line.label for line in lines]
    assert not {"do", "next", "restores", "range", "own"} & set(labels)
    assert Line("since", "true since 2026-10-24 12:00 UTC (8 d); resolved 2026-11-01 12:00 UTC") in lines


def test_a_digest_lists_in_time_and_says_it_is_alive() -> None:
    """What is held, the oldest event first, what was handed in, the sign of life; an empty day says nothing changed."""
    later = replace(CONTEXT, event=replace(EVENT, rule="Later", severity="info", at=NOW + timedelta(hours=1)))
    title, lines = digest([later, CONTEXT], NOW, "all 3 sources answered", [Line("blind", "acme: 2 rules")])
    assert title == "DIGEST 2026-11-01: 2 fired"
    assert lines[1].text.startswith("NonRecourseUnderwater #k3f9, Acme Mining, fired 2026-11-01 12:00 UTC: Acme")
    assert [line.label for line in lines] == ["own", "critical", "info", "blind", "alive"]
    assert digest([], NOW, "alive")[0] == "DIGEST 2026-11-01: nothing changed"


def test_a_first_look_lists_what_already_fires() -> None:
    """The gravest first with the moment since when; nothing firing is said as well."""
    warning = replace(CONTEXT, event=replace(EVENT, rule="Aging", severity="warning"))
    title, lines = first_look([warning, CONTEXT], NOW)
    assert title == "FIRST LOOK 2026-11-01 12:00 UTC: 2 alerts fire already (1 critical, 1 warning)"
    assert [line.label for line in lines] == ["critical", "warning", "from now on"]
    assert "since 2026-10-24 12:00 UTC" in lines[0].text
    assert first_look([], NOW)[0] == "FIRST LOOK 2026-11-01 12:00 UTC: nothing fires"


def test_a_notice_hides_secrets() -> None:
    """An error text with a bot's address in it loses the token on its way into a message."""
    secret = "123456:AAF-abcdefghijklmnopqrstuvwx"
    title, lines = notice(
        "warning", f"cannot reach bot{secret}", [f"POST /bot{secret}/x", "again"], do="check the token"
    )
    assert secret not in text_of(title, lines)
    assert [line.label for line in lines] == ["what", "", "do"]


def test_a_message_about_nothing_is_refused() -> None:
    """An empty group is a mistake of the caller, not an empty message."""
    with pytest.raises(ValueError, match="at least one event"):
        compose("fired", "critical", [], NOW)


# ---------------------------------------------------------------- hostile text
HOSTILE = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="<>&@/\u202e\u200b\x1b\n\t🐤é\u0301", max_size=300),
    st.sampled_from(
        ["<b>", "</b>", "&lt;", "@ada", "tg://user?id=42", "/ack k3f9", "a\n  do  sell", "]]>", "\ud800", "\U000e0041"]
    ),
)
MESSAGES = st.builds(
    lambda title, lines, repeat: replace(
        MESSAGE,
        title=title,
        lines=tuple(Line(label, text * repeat) for label, text in lines),
        recorded=repeat % 2 == 0,
        possibly_repeated=repeat % 3 == 0,
    ),
    HOSTILE,
    st.lists(st.tuples(HOSTILE, HOSTILE), max_size=30),
    st.integers(1, 12),
)


@given(MESSAGES)
@settings(max_examples=150, deadline=None)
def test_any_text_gives_html_telegram_takes(message: Message) -> None:
    """Every part is within 4,096 UTF-16 units, its tags balance, nothing raw is left, and nobody is mentioned."""
    parts = html(message)
    assert parts
    for part in parts:
        assert len(part.encode("utf-16-le")) // 2 <= TELEGRAM_UNITS
        assert len(part.encode("utf-16-le")) // 2 == utf16_units(part)
        depth = 0
        for tag in re.findall(r"</?b>", part):
            depth += 1 if tag == "<b>" else -1
            assert depth in (0, 1)
        assert depth == 0
        bare = re.sub(r"</?b>", "", part)
        assert not re.search(r"[<>]|&(?!(?:amp|lt|gt);)", bare)
        shown = without_markup(part)
        assert not re.search(r"@\w|tg://|(?:^|\s)/\w", shown)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", shown)


@given(MESSAGES)
@settings(max_examples=60, deadline=None)
def test_parts_keep_every_row_in_order(message: Message) -> None:
    """Cutting into parts loses no row and changes no order; every part carries the title."""
    parts = [without_markup(part).replace("\u2060", "").split("\n") for part in html(message)]
    titles = [part[0] for part in parts]
    rows = [row for part in parts for row in part[1:]]
    assert rows == [f"{label}  {text}" if label else text for label, text in rows_of(message.lines)]
    if len(parts) > 1:
        assert all(title.endswith(f" ({i}/{len(parts)})") for i, title in enumerate(titles, 1))


@pytest.mark.parametrize("character", ["x", "&", "🐤", "@a"])
@pytest.mark.parametrize("size", [1, 199, 470, 2000])
def test_full_parts_are_within_the_limit_and_well_used(character: str, size: int) -> None:
    """Parts of a long message are filled, not overfilled: no row that would have fitted begins a new part."""
    message = replace(MESSAGE, title="T" * 200, lines=tuple(Line(f"label {i}", character * size) for i in range(150)))
    sizes = [utf16_units(part) for part in html(message)]
    assert max(sizes) <= TELEGRAM_UNITS
    longest_row = max(utf16_units(row) for part in html(message) for row in part.split("\n")[1:])
    assert all(units + longest_row + 20 > TELEGRAM_UNITS for units in sizes[:-1])


@given(HOSTILE, st.integers(1, 50))
@settings(max_examples=150, deadline=None)
def test_clean_is_one_short_line_and_cleaning_twice_changes_nothing(text: str, limit: int) -> None:
    """A cleaned text has no line break and at most ``limit`` characters, and is its own cleaning."""
    once = clean(text, limit)
    assert len(once) <= limit
    assert "\n" not in once
    once.encode("utf-8")  # no unpaired surrogate is left
    assert clean(once, limit) == once


@given(MESSAGES)
@settings(max_examples=60, deadline=None)
def test_no_value_forges_a_line_of_a_terminal(message: Message) -> None:
    """A plain message has one line for its title and one for each row, whatever the values contain."""
    assert len(plain(message).split("\n")) == 1 + len(rows_of(message.lines))


def test_a_long_text_goes_on_in_rows() -> None:
    """A text beyond one row is cut between words and loses none of them."""
    words = " ".join(f"word{i}" for i in range(200))
    rows = rows_of([Line("now", words)])
    assert [label for label, _ in rows] == ["now", *[""] * (len(rows) - 1)]
    assert all(len(text) <= ROW_CHARACTERS for _, text in rows)
    assert " ".join(text for _, text in rows) == words


def test_too_many_rows_are_cut_with_a_word() -> None:
    """A message of thousands of rows ends with the remark that more were left out."""
    rows = rows_of([Line("n", str(i)) for i in range(5000)])
    assert len(rows) < 200
    assert rows[-1] == ("", "... more lines were left out here")
