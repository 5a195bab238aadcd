"""What people type at the bot: commands, names, shocks, spans; and every answer is one Telegram takes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.bot.access import Access, Strangers, allows, config_lines
from monitor.bot.menu import ACTIONS, WORDS, menu
from monitor.bot.nouns import Answer
from monitor.bot.replies import caption_of, parts_of, plain_of, refused
from monitor.bot.words import borrower_meant, shocks_of, target_and_span, typed
from monitor.botserver import well_formed
from monitor.config import load_config
from monitor.markup import utf16_units
from monitor.model import CanaryError, InputError, Line

AT = datetime(2026, 11, 1, tzinfo=UTC)
BOOK = {
    "coreweave": ("CoreWeave", "CRWV"),
    "core-scientific": ("Core Scientific", "CORZ"),
    "mara": ("MARA Holdings", "MARA"),
    "hut8": ("Hut 8", "HUT"),
}


# ---------------------------------------------------------------- commands and names
@pytest.mark.parametrize(
    ("text", "command", "words"),
    [
        ("/status", "status", ()),
        ("/Stress  btc=-30\nrent=-25", "stress", ("btc=-30", "rent=-25")),
        ("/miner@Canary_Bot mara", "miner", ("mara",)),
    ],
)
def test_a_command_is_read_however_it_is_written(text, command, words):
    """Case, the bot's own name and any blanks do not matter."""
    found = typed(text, "canary_bot")
    assert (found.command, found.words) == (command, words)


@pytest.mark.parametrize("text", ["", "hello", "/", "/status@another_bot", "//x", "/sta-tus", " /status", "/ü"])
def test_what_is_no_command_for_this_bot_is_none(text):
    """Ordinary text, a bare slash and a command to another bot of the group are left alone."""
    assert typed(text, "canary_bot") is None


@pytest.mark.parametrize(
    ("text", "who"),
    [
        *(("MARA", "mara"), ("crwv", "coreweave"), ("hut 8", "hut8"), ("core sci", "core-scientific")),
        *(
            ("scientifc", "core-scientific"),
            ("coreweeve", "coreweave"),
            ("Marra", "mara"),
            ("qqqq", None),
            ("?!", None),
        ),
    ],
)
def test_borrowers_are_found_by_any_of_their_names(text, who):
    """Id, ticker, name, a beginning, a part, a slip of the finger; what may be nobody is not guessed."""
    if who is None:
        with pytest.raises(CanaryError, match=r"did you mean|the book has"):
            borrower_meant(text, BOOK)
    else:
        assert borrower_meant(text, BOOK) == who


def test_an_ambiguous_name_is_asked_back():
    """Two borrowers that fit are both named, and neither is taken."""
    with pytest.raises(CanaryError, match="core-scientific or coreweave"):
        borrower_meant("core", BOOK)


def test_shocks_need_a_known_name_and_a_number():
    """A bare number gets the unit people mean; a wrong name is met with the right one."""
    assert shocks_of(["BTC=-30", "x", "spread=+250"]) == ({"btc": "-30%", "spread": "+250bp"}, ["x"])
    for words in (["btc="], ["btc=-1", "btc=-2"], ["rnet=-5"], ["=5"]):
        with pytest.raises(CanaryError):
            shocks_of(words)


def test_target_span_and_note_come_in_any_order():
    """People write the time before or after what it is about."""
    assert target_and_span(["#k7", "4h"]) == target_and_span(["4h", "k7"]) == ("k7", "4h", "")
    assert target_and_span(["mara", "for", "2d", "earnings", "call", "for", "us"]) == (
        "mara", "2d", "earnings call for us",
    )  # fmt: skip


# ---------------------------------------------------------------- who may what
def test_nobody_may_anything_unless_user_and_chat_are_named():
    """An empty list means nobody; a person in a foreign chat and a stranger in an allowed one are both nobody."""
    assert Access().role(1, 1) is None
    access = Access({1: "editor"}, frozenset({1, -5}))
    assert access.role(1, 1) == access.role(1, -5) == "editor"
    assert access.role(1, -6) is access.role(2, -5) is access.role(None, -5) is access.role(1, None) is None


def test_roles_include_the_smaller_ones():
    """An editor may all, an operator reads too, a viewer only reads."""
    roles = ("viewer", "operator", "editor")
    assert [[allows(mine, needed) for needed in roles] for mine in roles] == [
        [True, False, False], [True, True, False], [True, True, True],
    ]  # fmt: skip


def test_a_group_that_moved_stays_allowed_and_no_other():
    """An allowed group is followed to its new id; the move of another one lets nobody in."""
    access = Access({1: "viewer"}, frozenset({-5}))
    assert access.following({"-5": "-1005"}).role(1, -1005) == "viewer"
    assert access.following({"-6": "-1006"}).role(1, -1006) is None


def test_every_stranger_is_told_once_and_forgotten_in_the_end():
    """Once a run, however many come; a flood does not make the memory grow."""
    strangers = Strangers()
    assert [strangers.first_time(7, 7) for _ in range(3)] == [True, False, False]
    assert [strangers.may_ask_ids(8, 8) for _ in range(5)] == [True, True, True, False, False]
    for user in range(2000):
        strangers.first_time(user, user)
    assert len(strangers._seen) <= 512


def test_the_lines_to_paste_let_the_person_in(tmp_path):
    """What /whoami prints is read by the config as what it says."""
    from monitor.config import Found

    (tmp_path / "config.yaml").write_text(config_lines(77, -100) + "\n    token_env: T\n")
    written = load_config(Found(tmp_path / "config.yaml", "a test"), {}).chat["telegram"]
    assert [(p.user, p.role) for p in written.people] == [(77, "viewer")]
    assert written.chats == (-100,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chat: {telegram: {people: [{user: 1, role: boss}]}}", "role"),
        ("chat: {telegram: {people: [{user: 1}, {user: 1, role: editor}], chats: [1]}}", "written twice"),
        ("chat: {telegram: {people: [{user: ada}]}}", "user"),
        ("chat: {console: {people: [{user: 1}]}}", "hears nobody"),
    ],
)
def test_roles_that_cannot_be_meant_are_refused(tmp_path, text, said):
    """An unknown role, a person twice, a name in place of a number, people of a channel that hears nobody."""
    from monitor.config import Found

    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        load_config(Found(tmp_path / "config.yaml", "a test"), {})


def test_people_without_chats_are_a_finding_of_the_check(tmp_path):
    """`canary check` says that half a list lets nobody in, and nothing where both or neither are there."""
    from bot_desk import world_at
    from desk import lay_desk

    from monitor.asking import checked

    def found(chat: str) -> list[str]:
        (tmp_path / "config.yaml").write_text(f"paths: {{state: ./state}}\nchat: {{telegram: {{{chat}}}}}\n")
        return [text for text in checked(world_at(tmp_path), AT).warnings if "may ask the bot" in text]

    lay_desk(tmp_path)
    assert "chats is empty" in found("people: [{user: 1}]")[0]
    assert "people is empty" in found("chats: [1]")[0]
    assert found("people: [{user: 1}], chats: [1]") == found("chat: 1") == []


# ---------------------------------------------------------------- the menu
def test_the_menu_is_one_telegram_takes():
    """Names of at most 32 small letters, help of 1 to 256 characters, at most 100 commands, no name twice."""
    names = [word.name for word in WORDS]
    assert len(set(names)) == len(names) <= 100
    assert all(name.isascii() and name.islower() and name.isidentifier() and len(name) <= 32 for name, _ in menu())
    assert all(1 <= len(text) <= 256 for _, text in menu())
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)


def test_only_reading_is_for_viewers():
    """Whatever changes something asks for an operator or an editor."""
    changing = {"ack", "silence", "unsilence"}
    assert all(word.role != "viewer" for word in WORDS if word.name in changing)
    assert all(action.role != "viewer" for action in ACTIONS if action.name in ("ack", "silence1d", "silence7d"))


# ---------------------------------------------------------------- answers
lines = st.builds(Line, st.text(max_size=30), st.text(max_size=600))
answers = st.builds(
    Answer,
    title=st.text(max_size=300),
    lines=st.lists(lines, max_size=30).map(tuple),
    code=st.text(max_size=3000),
    own=st.booleans(),
)


@given(answers)
@settings(max_examples=150, deadline=None)
def test_any_answer_is_one_telegram_takes(answer):
    """Whatever text is in it, tags are balanced, parts are short enough, nothing is empty, nobody is mentioned."""
    parts = parts_of(answer, AT)
    assert parts
    for part in parts:
        assert well_formed(part)
        assert 0 < utf16_units(plain_of(part)) <= 4096
        assert plain_of(part).strip()
        assert "tg://" not in part
    assert utf16_units(caption_of(answer)) <= 1024


@given(st.text(max_size=5000), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_any_error_is_an_answer(text, newlines):
    """However long and odd the text of an error is, it becomes an answer Telegram takes."""
    answer = refused(CanaryError(("\n" * newlines).join([text, "and more"])))
    assert all(well_formed(part) and utf16_units(part) <= 4096 for part in parts_of(answer, AT))


def test_a_value_never_becomes_a_command_that_changes_something():
    """A hostile name cannot put a command one tap away; commands that only read may be tapped."""
    part = parts_of(Answer("x", (Line("", "call /ack k7 or /silence or @ada, see /alerts"),)), AT)[0]
    assert "/\u2060ack" in part
    assert "/alerts" in part
    assert "@\u2060ada" in part
