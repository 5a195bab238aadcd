"""`canary chat test` and `canary chat who` on a real desk and a real server: what arrives, who wrote, what is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from desk import CONFIG, lay_desk
from fake_telegram import BLOCKED, CONFLICT, TOKEN, FakeTelegram
from loopback import Answer, Loopback

from monitor.asking import LOCK_FILE
from monitor.cli import run_line
from monitor.store import Lock

KEY = "s3cret-hook"


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run one command line on a desk with a config of its own: (exit code, standard output, standard error)."""
    monkeypatch.chdir(lay_desk(tmp_path / "desk"))
    monkeypatch.delenv("CANARY_CONFIG", raising=False)
    monkeypatch.setenv("CANARY_TEST_TOKEN", TOKEN)

    def run(config: str, *arguments: str) -> tuple[int, str, str]:
        Path("config.yaml").write_text(CONFIG + config)
        capsys.readouterr()
        code = run_line(list(arguments))
        out, err = capsys.readouterr()
        for secret in (TOKEN.split(":")[1], KEY):
            assert secret not in out + err
        assert "Traceback" not in out + err
        return code, out, err

    return run


def chats(server: FakeTelegram) -> str:
    """A Telegram channel on this server and two routes, one of them to the terminal."""
    return (
        f"chat: {{telegram: {{token_env: CANARY_TEST_TOKEN, chat: 42, base_url: '{server.url}'}}}}\n"
        "routes: [{name: desk, channel: telegram}, {name: screen, channel: console, severities: [critical]}]\n"
    )


def test_a_sample_goes_to_every_route(canary) -> None:
    """Each route says whether its sample arrived; the report alone is on standard output."""
    with FakeTelegram() as server:
        code, out, err = canary(chats(server), "chat", "test", "--json")
        (text,) = server.texts("42")
    assert code == 0
    assert [(one["route"], one["ok"], one["sent_as"]) for one in json.loads(out)["routes"]] == [
        ("desk", True, "1"),
        ("screen", True, "console-1"),
    ]
    assert "TEST of the route desk: this is not an alert" in text
    assert "TEST of the route screen" in err
    assert not Path("state").exists(), "a sample needs no database and leaves none"


def test_one_route_and_one_that_fails(canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """ROUTE chooses; what did not arrive is a finding with its reason; a wrong name is met with the right one."""
    with FakeTelegram() as server, Loopback() as hook:
        hook.on(f"/{KEY}", Answer(204))
        monkeypatch.setenv("CANARY_TEST_HOOK", f"{hook.url}/{KEY}")
        config = chats(server).replace("routes: [", "routes: [{name: machines, channel: webhook}, ").replace(
            "chat: {", "chat: {webhook: {url_env: CANARY_TEST_HOOK}, "
        )  # fmt: skip
        assert canary(config, "chat", "test", "machines")[0] == 0
        assert (len(hook.requests), server.asked) == (1, [])
        server.script("sendMessage", BLOCKED)
        code, out, _ = canary(config, "chat", "test", "--json")
        assert code == 1
        results = {one["route"]: one["problem"] for one in json.loads(out)["routes"]}
        assert "bot was blocked by the user" in results.pop("desk")
        assert set(results.values()) == {""}
        code, _, err = canary(config, "chat", "test", "machine")
    assert code == 2
    assert "did you mean 'machines'?" in err


def test_a_missing_secret_is_a_finding_not_a_fault(canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route whose secret is not set says which variable to set; the others are tried all the same."""
    with FakeTelegram() as server:
        monkeypatch.delenv("CANARY_TEST_TOKEN")
        code, out, _ = canary(chats(server), "chat", "test")
    assert code == 1
    assert "CANARY_TEST_TOKEN is not set" in out
    assert "1 of 2 routes took a sample" in out


def test_who_shows_ids_and_the_lines_to_paste_and_takes_nothing(canary) -> None:
    """Everybody who wrote, once for each chat; the updates stay for whoever listens next."""
    with FakeTelegram() as server:
        server.say("hello", user=7, chat=7)
        server.say("/start", user=7, chat=-100)
        server.say("again", user=7, chat=7)
        code, out, _ = canary(chats(server), "chat", "who", "--json")
        seen = json.loads(out)["seen"]
        assert (code, [(one["user"], one["chat"]) for one in seen]) == (0, [(7, 7), (7, -100)])
        assert "- {user: 7, role: viewer}" in seen[0]["config"]
        assert json.loads(canary(chats(server), "chat", "who", "--json")[1])["seen"] == seen
        assert all("offset" not in one.fields for one in server.asked)
        assert "{user: 7, role: viewer}" in canary(chats(server), "chat", "who")[1]


def test_who_leaves_a_running_listener_alone(canary) -> None:
    """While the daemon runs nothing is asked of Telegram; a listener elsewhere is said."""
    with FakeTelegram() as server:
        with Lock(Path("state") / LOCK_FILE):
            code, out, _ = canary(chats(server), "chat", "who")
        assert (code, server.asked) == (0, [])
        assert "/whoami" in out
        server.script("getUpdates", CONFLICT)
        code, _, err = canary(chats(server), "chat", "who")
        assert code == 2
        assert "another program listens" in err
        assert "nobody wrote to the bot" in canary(chats(server), "chat", "who")[1]
    code, _, err = canary("", "chat", "who")
    assert (code, "token_env or token_file" in err) == (2, True)
