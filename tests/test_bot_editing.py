"""Rules edited from chat: shown, proposed with a dry run, carried out by the same person or by two; watches, mutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bot_desk import EDITOR, OPERATOR, VIEWER, running
from desk import lay_desk

from monitor.bot import editing, own
from monitor.bot.desk import Desk
from monitor.bot.nouns import Answer, Ask, Person
from monitor.config import Found, load_config
from monitor.editing import past_of
from monitor.model import CanaryError
from monitor.tick import Memory
from monitor.worker import Worker
from monitor.world import build_world

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
ADA, BOB = Person(43, 43, "Ada", "editor"), Person(44, -100, "Bob", "editor")
OTHERS = {"viewer": Person(41, 41, "Vi", "viewer"), "operator": Person(42, 42, "Op", "operator")}
PEOPLE = "chat: {telegram: {token_env: CANARY_TOKEN, people: [%s], chats: [43, -100]}}\n"
TWO = "{user: 43, role: editor}, {user: 44, role: editor}, {user: 42, role: operator}"


@asynccontextmanager
async def desk_of(folder: Path, people: str = TWO) -> AsyncIterator[Desk]:
    """A desk of one miner and one critical rule, with people, a writer thread and a worker process."""
    lay_desk(folder)
    with (folder / "config.yaml").open("a") as handle:
        handle.write(PEOPLE % people)
    config = load_config(Found(folder / "config.yaml", "for a test"), {"HOME": str(folder)})
    writer, loop = ThreadPoolExecutor(1), asyncio.get_running_loop()
    memory = await loop.run_in_executor(writer, lambda: Memory(config.paths.state, AT))
    desk = Desk(
        lambda: build_world(config, offline=True),
        lambda: memory,
        lambda work: loop.run_in_executor(writer, work),  # type: ignore[arg-type,return-value]
        Worker(),
        offline=True,
    )
    try:
        yield desk
    finally:
        desk.close()
        desk.worker.close()
        await loop.run_in_executor(writer, memory.close)
        writer.shutdown()


def ask(desk: Desk, text: str, person: Person = ADA, now: datetime = AT) -> Ask:
    """A command's words from somebody."""
    return Ask(desk, person, now, tuple(text.split()))


def said(answer: Answer) -> str:
    """Title, rows and code as one text."""
    return "\n".join([answer.title, *(f"{line.label}: {line.text}" for line in answer.lines), answer.code])


def rule_file(folder: Path) -> str:
    """The rule file of the desk."""
    return (folder / "rules/mine.yaml").read_text()


# ---------------------------------------------------------------- one person
def test_an_edit_is_shown_with_its_dry_run_and_written_when_the_same_person_says_so(tmp_path: Path) -> None:
    """Proposed: the diff and what would have fired; confirmed: the file, the audit; undone: the bytes as before."""

    async def talk() -> None:
        async with desk_of(tmp_path) as desk:
            before = rule_file(tmp_path)
            shown = await editing.rule(ask(desk, "lowcash"))
            assert "expr 1: 50m in cash_unrestricted_usd < 50m" in said(shown)
            proposed = await editing.threshold(ask(desk, "LowCash 60m"))
            assert proposed.title == "LowCash, expr 1: 50m -> 60m?"
            assert "+  expr: cash_unrestricted_usd < 60m" in proposed.code
            assert "dry run: would have fired once" in said(proposed)
            assert rule_file(tmp_path) == before
            yes, no = proposed.buttons[0]
            assert (yes.action, yes.user, no.action) == ("rule", ADA.user, "leave")
            written = await editing.confirmed(ask(desk, ""), yes.target)
            assert "written as edit 1" in written.title
            assert "cash_unrestricted_usd < 60m" in rule_file(tmp_path)
            again = await _refusal(editing.confirmed(ask(desk, ""), yes.target))
            assert "changed since this was proposed" in again
            back = await editing.undo(ask(desk, "LowCash"))
            await editing.confirmed(ask(desk, ""), back.buttons[0][0].target)
            assert rule_file(tmp_path) == before
            entries = await desk.write(lambda memory: past_of(memory.live, "LowCash"))
            assert [(one.who, one.chat, one.action) for one in entries] == [
                ("Ada (43)", "43", "undo"),
                ("Ada (43)", "43", "rule"),
            ]
            assert "Ada (43): expr 1: 50m (mine.yaml) -> 60m, taken back" in said(
                await editing.rule(ask(desk, "LowCash"))
            )

    asyncio.run(talk())


async def _refusal(work: object) -> str:
    with pytest.raises(CanaryError) as caught:
        await work  # type: ignore[misc]
    return str(caught.value)


def test_only_editors_propose_and_hostile_words_are_answered(tmp_path: Path) -> None:
    """A viewer may look; nobody else proposes; whatever is typed is refused in words and the file stays."""

    async def talk() -> None:
        async with desk_of(tmp_path) as desk:
            before = rule_file(tmp_path)
            for person in OTHERS.values():
                assert "LowCash" in (await editing.rule(ask(desk, "LowCash", person))).title
                assert "edited by editors" in await _refusal(editing.rule(ask(desk, "LowCash for 4h", person)))
            for text in (
                "LowCash for 4h\n  severity: info",
                "LowCash for __import__('os')",
                "../../etc/passwd for 4h",
                "LowCash severity !!python/object:os.system",
                "LowCash for \u202e4h",
                "LowCash threshold {50m}",
                "LowCash for " + "9" * 70,
                "",
            ):
                await _refusal(editing.rule(ask(desk, text)))
            assert rule_file(tmp_path) == before

    asyncio.run(talk())


# ---------------------------------------------------------------- one of several numbers
SEVERAL = """- alert: ThinTwice
  expr: coverage < 1.1 and cash_unrestricted_usd < 50m
  severity: warning
  summary: "{borrower} is thin"
"""


def test_a_button_for_each_number_a_value_could_become(tmp_path: Path) -> None:
    """Several numbers: nothing is guessed, each that can take the value is a button, and a tap proposes that edit."""

    async def talk() -> None:
        async with desk_of(tmp_path) as desk:
            (tmp_path / "rules/two.yaml").write_text(SEVERAL)
            asked = await editing.threshold(ask(desk, "ThinTwice 1.05"))
            assert asked.title == "ThinTwice: which number becomes 1.05?"
            buttons = [button for row in asked.buttons for button in row]
            # 1.05 is no amount of money anybody would write, but it is one: the person decides, not the program
            assert [one.label for one in buttons] == ["coverage < 1.1 -> 1.05", "cash_unrestricted_usd < 50m -> 1.05"]
            assert {(one.action, one.user) for one in buttons} == {("rule_number", ADA.user)}
            proposed = await editing.picked(ask(desk, ""), buttons[0].target)
            assert proposed.title == "ThinTwice, expr 1: 1.1 -> 1.05?"
            assert proposed.buttons[0][0].action == "rule"
            # where the value cannot stand, or stands already, it is not offered; nowhere at all is refused at once
            (only,) = (await editing.threshold(ask(desk, "ThinTwice 60m"))).buttons
            assert only[0].label == "cash_unrestricted_usd < 50m -> 60m"
            assert "is an amount" in await _refusal(editing.threshold(ask(desk, "ThinTwice 50m")))
            assert "cannot stand there" in await _refusal(editing.threshold(ask(desk, "ThinTwice banana")))
            assert (await editing.threshold(ask(desk, "ThinTwice 1.05 #1"))).title == proposed.title
            # the rule changed meanwhile: the buttons are about something else
            (tmp_path / "rules/two.yaml").write_text(SEVERAL.replace("1.1", "1.2"))
            assert "changed since these buttons" in await _refusal(editing.picked(ask(desk, ""), buttons[0].target))
            await editing.picked(
                ask(desk, ""), (await editing.threshold(ask(desk, "ThinTwice 1.05"))).buttons[0][0].target
            )

    asyncio.run(talk())


def test_a_number_is_picked_through_telegram(tmp_path: Path) -> None:
    """Only the editor who asked may tap, and not after ten minutes; a tap shows the dry run of that number."""

    async def talk() -> None:
        (tmp_path / "rules").mkdir()
        (tmp_path / "rules/two.yaml").write_text(SEVERAL)
        async with running(tmp_path) as bot:
            await bot.says("/threshold thintwice 1.05", EDITOR)
            keys = dict(bot.server.keys())
            pick = keys["coverage < 1.1 -> 1.05"]
            assert await bot.told(pick, OPERATOR) == "this button is for the person who asked"
            texts = await bot.texts(
                lambda: bot.server.press(pick, EDITOR, EDITOR), lambda found: any("1.05?" in text for text in found)
            )
            assert "ThinTwice, expr 1: 1.1 -&gt; 1.05?" in texts[-1]
            bot.clock[0] += timedelta(minutes=11)
            assert "too old" in await bot.told(pick, EDITOR)

    asyncio.run(talk())


# ---------------------------------------------------------------- two people
def test_weakening_a_critical_rule_takes_another_editor(tmp_path: Path) -> None:
    """The proposer's yes asks another editor; the proposer himself cannot agree; both names are in the audit."""

    async def talk() -> None:
        async with desk_of(tmp_path) as desk:
            before = rule_file(tmp_path)
            proposed = await editing.rule(ask(desk, "LowCash for 4h"))
            assert "takes two: critical, and for 4h instead of 0 is more than twice as long" in said(proposed)
            asked = await editing.confirmed(ask(desk, ""), proposed.buttons[0][0].target)
            (button,) = asked.buttons[0]
            assert (button.action, button.user, button.lives) == ("rule_second", None, timedelta(hours=1))
            assert rule_file(tmp_path) == before
            assert "another editor has to agree" in await _refusal(editing.seconded(ask(desk, ""), button.target))
            await editing.seconded(ask(desk, "", BOB), button.target)
            assert "  for: 4h\n" in rule_file(tmp_path)
            (entry,) = await desk.write(lambda memory: past_of(memory.live, "LowCash"))
            assert entry.who == "Ada (43)"
            assert entry.after.startswith("for: 4h, agreed by Bob (44)\n")

    asyncio.run(talk())


def test_a_single_editor_is_sent_to_the_terminal(tmp_path: Path) -> None:
    """With one editor in the config there is no button, only the command to type where the files are."""

    async def talk() -> None:
        async with desk_of(tmp_path, "{user: 43, role: editor}") as desk:
            proposed = await editing.rule(ask(desk, "LowCash severity warning"))
            assert proposed.buttons == ()
            assert "finish it at the terminal, canary rule LowCash severity warning" in said(proposed)

    asyncio.run(talk())


def test_somebody_who_is_no_editor_any_more_has_proposed_nothing(tmp_path: Path) -> None:
    """Between proposal and agreement the config may have changed; it decides."""

    async def talk() -> None:
        async with desk_of(tmp_path) as desk:
            proposed = await editing.rule(ask(desk, "LowCash for 4h"))
            asked = await editing.confirmed(ask(desk, ""), proposed.buttons[0][0].target)
            gone = asked.buttons[0][0].target.replace('"user": 43', '"user": 99')
            assert "no editor any more" in await _refusal(editing.seconded(ask(desk, "", BOB), gone))

    asyncio.run(talk())


# ---------------------------------------------------------------- watches and mutes
def test_a_person_watches_and_mutes_for_himself(tmp_path: Path) -> None:
    """Written at once under the person's number, listed, ended; a mute needs an end."""

    async def talk() -> None:
        async with desk_of(tmp_path) as desk:
            answer = await own.watch(ask(desk, "Alpha Mining"))
            assert answer.title == "alpha is watched"
            assert "to: 43" in answer.code
            answer = await own.mute(ask(desk, "alpha 7d"))
            assert answer.title == "alpha muted until 2026-11-08 12:00 UTC; critical alerts come all the same"
            mine = said(await own.watch(ask(desk, "")))
            assert "watched: alpha" in mine
            assert "muted: alpha until 2026-11-08 12:00 UTC" in mine
            for text in ("alpha", "alpha for-ever", "alpha 31d", "nobody 7d", ""):
                await _refusal(own.mute(ask(desk, text)))
            await own.unmute(ask(desk, "alpha"))
            await own.unwatch(ask(desk, "alpha"))
            assert "was not" in await _refusal(own.unwatch(ask(desk, "alpha", BOB)))
            text = (tmp_path / "portfolio.yaml").read_text()
            assert "watches: []" in text
            assert "mutes: []" in text

    asyncio.run(talk())


# ---------------------------------------------------------------- through Telegram
def test_the_whole_way_through_telegram(tmp_path: Path) -> None:
    """Typed, shown with buttons, tapped by a stranger to it and by the person who asked, written once."""

    async def talk() -> None:
        async with running(tmp_path) as bot:
            assert "is for editors" in await bot.says("/threshold LowCash 60m", VIEWER)
            assert "edited by editors" in await bot.says("/rule LowCash for 4h", OPERATOR)
            texts = await bot.texts(
                lambda: bot.server.say("/threshold LowCash 60m", EDITOR, EDITOR),
                lambda found: any("60m?" in text for text in found),
            )
            assert "+ expr: cash_unrestricted_usd &lt; 60m" in texts[-1]
            keys = dict(bot.server.keys())
            assert await bot.told(keys["Write it"], OPERATOR) == "this button is for the person who asked"
            written = await bot.texts(
                lambda: bot.server.press(keys["Write it"], EDITOR, EDITOR),
                lambda found: any("written as edit" in text for text in found),
            )
            assert any("written as edit 1" in text for text in written)
            assert "cash_unrestricted_usd < 60m" in rule_file(tmp_path)
            assert "done already" in await bot.told(keys["Write it"], EDITOR)
            assert rule_file(tmp_path).count("60m") == 1

    asyncio.run(talk())
