"""The demo: a conversation without account and network, from the first alert to the last answer."""

from __future__ import annotations

import io
from datetime import date

import pytest

from monitor.botserver import Request
from monitor.demo import SCRIPT, USER, WEEK, Terminal, run_demo


def test_a_chat_is_shown_with_its_buttons_numbered(tmp_path):
    """Text without markup, buttons with numbers, the little box of a tap; long rows are wrapped."""
    out = io.StringIO()
    terminal = Terminal(out, 60)
    keys = {"inline_keyboard": [[{"text": "Ack", "callback_data": "a"}], [{"text": "Why", "callback_data": "w"}]]}
    fields = {"text": "<b>A &amp; B</b>\nrow " + "word " * 20, "parse_mode": "HTML", "reply_markup": keys}
    terminal.sent(Request("sendMessage", fields))
    terminal.sent(Request("answerCallbackQuery", {"text": "done already"}))
    terminal.sent(Request("sendChatAction", {"action": "typing"}))
    shown = out.getvalue()
    assert "bot > A & B" in shown
    assert "[1] Ack  [2] Why" in shown
    assert "(a small box) done already" in shown
    assert "typing" not in shown
    assert max(map(len, shown.splitlines())) <= 60
    assert terminal.keys == [("Ack", "a"), ("Why", "w")]


@pytest.mark.slow
def test_the_demo_talks_from_alert_to_answer():
    """A day is lived again with an alert and its buttons; commands, a tap, a second tap and a slip are answered."""
    out = io.StringIO()
    lines = ["9", "/status", "/alerts", "1", "1", "/silence LockedBoxTight/hut8 90d", "/stattus"]
    assert run_demo(lines, out, 100, days=[date(2026, 8, 5)]) == 0
    shown = out.getvalue()
    assert "RECORDED 2026-08-05 WARNING" in shown
    assert "[1] Ack  [2] Silence 1 d" in shown
    assert "there is no button 9" in shown
    assert "you > [Ack]" in shown
    assert "acknowledged" in shown
    assert f"by You ({USER})" in shown
    assert "(the message changes) RECORDED acknowledged by You" in shown
    assert "lasts at most 30 d" in shown
    assert "did you mean /status?" in shown
    assert "fault in Canary" not in shown
    assert "Traceback" not in shown


def test_the_script_uses_commands_that_exist():
    """Every command of the scripted conversation is one the bot has, but for the slip that is meant."""
    from monitor.bot.menu import word_named

    commands = [line.split()[0][1:] for line in SCRIPT if line.startswith("/")]
    assert [name for name in commands if word_named(name) is None] == ["stattus"]
    assert list(WEEK) == sorted(WEEK)
