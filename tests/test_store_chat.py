"""What the chat keeps: buttons that are used once and forgotten in time, changes with who made them, moved groups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.model import StoreError
from monitor.store import Store
from monitor.store_chat import (
    KEPT,
    Audit,
    Callback,
    append_audit,
    audits,
    callback,
    keep_callbacks,
    mark_undone,
    moved_chats,
    note_moved,
    note_outcome,
    release_callback,
    use_callback,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BUTTON = Callback("b1", NOW, NOW + timedelta(days=7), "ack", "k7", "e1", user=42)


@pytest.fixture
def store(tmp_path):
    """An empty database."""
    with Store(tmp_path / "canary.sqlite") as opened:
        yield opened


def test_a_button_is_read_as_it_was_kept(store):
    """Every part of it comes back; an id nobody made is nothing."""
    keep_callbacks(store, [BUTTON, replace(BUTTON, id="b2", user=None)])
    assert callback(store, "b1") == BUTTON
    assert callback(store, "b2").user is None
    assert callback(store, "b3") is None


def test_a_button_is_used_once_unless_it_is_given_back(store):
    """The first claim wins; what was not done is given back; the outcome is kept for whoever taps again."""
    keep_callbacks(store, [BUTTON])
    assert [use_callback(store, "b1", NOW, "Ada (42)") for _ in range(3)] == [True, False, False]
    release_callback(store, "b1")
    assert use_callback(store, "b1", NOW, "Bob (43)")
    note_outcome(store, "b1", "k7 acknowledged")
    found = callback(store, "b1")
    assert (found.used_at, found.used_by, found.outcome) == (NOW, "Bob (43)", "k7 acknowledged")


def test_old_buttons_are_forgotten_when_new_ones_come(store):
    """A table of buttons does not grow for ever."""
    keep_callbacks(store, [BUTTON])
    keep_callbacks(store, [])
    later = NOW + KEPT + timedelta(seconds=1)
    keep_callbacks(store, [replace(BUTTON, id="b2", at=later)])
    assert callback(store, "b1") is None
    assert callback(store, "b2") is not None


def test_changes_are_kept_with_who_made_them(store):
    """Newest first, by action and target; each is taken back once; the numbers go on."""
    made = [
        Audit(NOW, "Ada (42)", "-100", "rule", "LockedBoxShort", "1.0", "1.05"),
        Audit(NOW, "Bob (43)", "43", "ack", "k7", after="acknowledged"),
        Audit(NOW, "Ada (42)", "-100", "rule", "PutWall", "3d", "4d"),
    ]
    numbers = [append_audit(store, one) for one in made]
    assert numbers == [1, 2, 3]
    assert [one.target for one in audits(store)] == ["PutWall", "k7", "LockedBoxShort"]
    assert audits(store, "rule", "LockedBoxShort") == [replace(made[0], number=1)]
    assert [one.number for one in audits(store, "rule", limit=1)] == [3]
    assert [mark_undone(store, 1, NOW), mark_undone(store, 1, NOW), mark_undone(store, 9, NOW)] == [True, False, False]
    assert audits(store, "rule", "LockedBoxShort")[0].undone == NOW


def test_a_moved_group_has_its_newest_id(store):
    """The last word counts; a database of an older shape gets the tables when it is opened."""
    note_moved(store, "-5", "-1005", NOW)
    note_moved(store, "-5", "-1006", NOW)
    assert moved_chats(store) == {"-5": "-1006"}


def test_nothing_is_written_half(store, tmp_path):
    """A change inside a transaction that fails is gone with it; a reader cannot write."""

    def half() -> None:
        with store.transaction():
            append_audit(store, Audit(NOW, "Ada", "1", "rule", "x"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert audits(store) == []
    with Store.reader(tmp_path / "canary.sqlite") as reader, pytest.raises(StoreError):
        append_audit(reader, Audit(NOW, "Ada", "1", "rule", "x"))
