"""config.yaml: found where it should be, strict, every mistake shown at once, and never a secret in it."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from monitor.config import Found, find_config, inputs_hash, load_config, read_secret, routes_of, secret_places
from monitor.model import CanaryError, InputError
from monitor.routes import Quiet
from monitor.starter import starter_root

TOKEN = "123456789:" + "A" * 35


def write(folder: Path, text: str) -> Found:
    """A config file in a folder of its own."""
    file = folder / "config.yaml"
    file.write_text(text)
    return Found(file, "test")


def refused(folder: Path, text: str) -> str:
    """What a user reads when this config is refused."""
    with pytest.raises(InputError) as caught:
        load_config(write(folder, text), {})
    return str(caught.value)


def test_starter_config_is_the_defaults(tmp_path):
    """The commented starter file says nothing but the defaults, so that deleting a line changes nothing."""
    starter = load_config(Found(starter_root() / "config.yaml", ""), {"HOME": str(tmp_path)})
    empty = load_config(write(tmp_path, "schedule: {}\n"), {"HOME": str(tmp_path)})
    assert (starter.schedule, starter.engine, starter.retention) == (empty.schedule, empty.engine, empty.retention)
    assert starter.paths.state == empty.paths.state == tmp_path / ".local/state/canary"
    assert [route.channel for route in starter.routes] == ["console"]


def test_every_key_of_the_comments_is_accepted(tmp_path):
    """What the starter file shows in comments can be uncommented as it stands."""
    text = (starter_root() / "config.yaml").read_text()
    lines = []
    for line in text.splitlines():
        body = line.removeprefix("# ")
        is_yaml = line.startswith("# ") and (
            body.startswith((" ", "- ", "feeds:", "chat:", "state:", "portfolio:", "prices:"))
        )
        lines.append(body if is_yaml and not line.startswith("# Unknown") else line)
    merged = "\n".join(lines).replace("\n- name: desk", "\n  - name: desk")
    merged = merged.replace("\n  channel: telegram", "\n    channel: telegram").replace("\nstate:", "\n  state:")
    merged = merged.replace("\nprices:", "\n  prices:").replace("\nportfolio:", "\n  portfolio:")
    keys = (
        "severities",
        "borrowers",
        "holdings",
        "rules: []",
        "quiet_hours",
        "digest_at",
        "tz",
        "group_by",
        "send_",
        "escalation",
    )
    for key in keys:
        merged = merged.replace(f"\n  {key}", f"\n    {key}")
    config = load_config(write(tmp_path, merged), {})
    assert config.routes[1].quiet_hours is not None
    assert config.routes[1].quiet_hours.tz == "Europe/Zurich"
    assert config.chat["telegram"].token_env == "CANARY_TELEGRAM_TOKEN"
    assert config.feeds["coinbase"].max_age == 1800
    assert config.paths.prices == tmp_path / "prices"
    assert config.paths.portfolio == tmp_path / "portfolio.yaml"
    assert config.routes[1].holdings


def test_all_mistakes_at_once_with_place_and_fix(tmp_path):
    """One reading names every mistake with line, column and what to write instead."""
    text = "schedule: {evry: 15m}\nengine:\n  seed: -1\n"
    text += "routes:\n  - name: a\n    channel: console\n    severities: [critcal]\n"
    shown = refused(tmp_path, text)
    assert "config.yaml:1:12: unknown key 'evry'" in shown
    assert "did you mean 'every'?" in shown
    assert "config.yaml:3:9:" in shown
    assert "config.yaml:7:18: 'critcal' is not one of" in shown
    assert "did you mean 'critical'?" in shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schedule: {every: 15}\n", "15 has no unit"),
        ("schedule: {every: 1s}\n", "greater than or equal to 30"),
        ("routes: [{name: a, channel: console}, {name: a, channel: console}]\n", "route 'a' is written twice"),
        ("routes: [{name: a, channel: console, severities: []}]\n", "at least 1 item"),
        ("routes: [{name: a, channel: c, quiet_hours: {from: '25:00', to: '07:00'}}]\n", "not a time of day"),
        (
            "routes: [{name: a, channel: c, quiet_hours: {from: '22:00', to: '07:00', tz: Mars/Base}}]\n",
            "not a time zone",
        ),
        ("feeds: {x: {base_url: 'ftp://h/'}}\n", "must be a web address"),
        ("feeds: {x: {base_url: 'http://example.com/'}}\n", "must start with https://"),
        ("feeds: {x: {base_url: 'https://u:p@example.com/'}}\n", "without a user name"),
        ("feeds: {'../x': {}}\n", "should match pattern"),
        ("chat: {telegram: {token_env: A, token_file: b}}\n", "token_env and token_file are both given"),
        ("retention: {raw: 7d, hourly: 2d}\n", "hourly must be at least as long as raw"),
        ("", "is empty"),
        ("[1]\n", "must be a set of"),
    ],
)
def test_each_mistake_is_refused(tmp_path, text, says):
    """Each kind of mistake is refused in words that say what is wrong."""
    assert says in refused(tmp_path, text)


@pytest.mark.parametrize("key", ["token_env", "token_file", "url_env"])
def test_a_pasted_token_is_refused_and_not_repeated(tmp_path, key):
    """A secret pasted where its name belongs is refused, and the refusal does not print it."""
    shown = refused(tmp_path, f"chat:\n  telegram:\n    {key}: {TOKEN}\n")
    assert "never the secret itself" in shown
    assert "config.yaml:3:" in shown
    assert "AAAA" not in shown


def test_a_token_under_an_unknown_key_is_not_repeated(tmp_path):
    """A secret under a key that does not exist is refused and not printed either."""
    shown = refused(tmp_path, f"chat: {{telegram: {{token: '{TOKEN}'}}}}\n")
    assert "unknown key 'token'" in shown
    assert "AAAA" not in shown


def test_search_order(tmp_path):
    """--config beats CANARY_CONFIG beats this folder beats the user's folder beats the starter set."""
    here, user, named, env = (tmp_path / name for name in ("here", "user", "named", "env"))
    (user / "canary").mkdir(parents=True)
    for folder in (here, named, env):
        folder.mkdir()
        write(folder, "schedule: {}\n")
    write(user / "canary", "schedule: {}\n")
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(user), "CANARY_CONFIG": str(env / "config.yaml")}
    assert find_config(named / "config.yaml", environ, here).file.parent == named
    assert find_config(named, environ, here).file.parent == named
    assert find_config(None, environ, here).file.parent == env
    del environ["CANARY_CONFIG"]
    assert find_config(None, environ, here).file.parent == here
    assert find_config(None, environ, tmp_path).file.parent == user / "canary"
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "nothing")
    if not Path("/etc/canary/config.yaml").exists():
        found = find_config(None, environ, tmp_path)
        assert found.starter
        assert "read-only" in found.why


def test_a_named_config_that_does_not_exist_is_an_error(tmp_path):
    """A mistyped --config or CANARY_CONFIG never falls through to another file."""
    with pytest.raises(InputError, match="no such config"):
        find_config(Path("nope.yaml"), {}, tmp_path)
    with pytest.raises(InputError, match="named by CANARY_CONFIG"):
        find_config(None, {"CANARY_CONFIG": "nope.yaml"}, tmp_path)


def test_paths_are_relative_to_the_config_file(tmp_path, monkeypatch):
    """Folders are meant from where the file is, not from where the command is typed."""
    monkeypatch.chdir("/")
    config = load_config(write(tmp_path, "paths: {state: ./s, rules: ../r, prices: /abs}\n"), {})
    assert config.paths.state == tmp_path / "s"
    assert config.paths.rules.resolve() == tmp_path.parent / "r"
    assert config.paths.book == tmp_path / "book"
    assert str(config.paths.prices) == "/abs"


def test_secrets_come_from_environment_or_file(tmp_path):
    """A secret is read from where its name points; errors name the place and never the secret."""
    (tmp_path / "t").write_text(TOKEN + "\n")
    assert read_secret("T", None, {"T": TOKEN}, tmp_path) == TOKEN
    assert read_secret(None, "t", {}, tmp_path) == TOKEN
    assert read_secret(None, None, {}, tmp_path) is None
    (tmp_path / "bad").write_text("two words")
    (tmp_path / "big").write_bytes(b"x" * 5000)
    (tmp_path / "empty").write_text("\n")
    for env, file in [("GONE", None), (None, "gone"), (None, "bad"), (None, "big"), (None, "empty")]:
        with pytest.raises(CanaryError) as caught:
            read_secret(env, file, {}, tmp_path)
        assert "words" not in str(caught.value)
        assert str(env or file) in str(caught.value)


def test_routes_for_routing(tmp_path):
    """A route goes to its own destination, else to the channel's chat; no route at all means the console."""
    text = "chat: {telegram: {token_env: T, chat: -100}}\nroutes:\n"
    text += "  - {name: desk, channel: telegram, digest_at: '06:30'}\n"
    text += "  - {name: me, channel: telegram, to: 7, quiet_hours: {from: '22:00', to: '07:00', tz: Asia/Tokyo}}\n"
    desk, me = routes_of(load_config(write(tmp_path, text), {}))
    assert (desk.to, desk.quiet, desk.digest_at) == ("-100", None, time(6, 30))
    assert (me.to, me.quiet) == ("7", Quiet(time(22), time(7), "Asia/Tokyo"))
    assert [route.channel for route in routes_of(load_config(write(tmp_path, "engine: {}\n"), {}))] == ["console"]


def test_named_secrets_are_listed(tmp_path):
    """check can ask about every secret the config names; switched-off channels need none."""
    text = "chat: {telegram: {token_env: T}, webhook: {enabled: false, url_env: U}}\n"
    places = [(name, env) for name, env, file in secret_places(load_config(write(tmp_path, text), {})) if env or file]
    assert places == [("chat.telegram token", "T")]


def test_inputs_hash_notices_any_edit(tmp_path):
    """An edit, a new file, a renamed and a deleted file each change the fingerprint; reading alone does not."""
    (tmp_path / "rules").mkdir()
    config = load_config(write(tmp_path, "schedule: {}\n"), {})
    seen = [inputs_hash(config)]
    assert inputs_hash(config) == seen[0]
    (tmp_path / "rules" / "a.yaml").write_text("x")
    seen.append(inputs_hash(config))
    (tmp_path / "rules" / "a.yaml").write_text("y")
    seen.append(inputs_hash(config))
    (tmp_path / "rules" / "a.yaml").rename(tmp_path / "rules" / "b.yaml")
    seen.append(inputs_hash(config))
    write(tmp_path, "schedule: {every: 1h}\n")
    seen.append(inputs_hash(config))
    assert len(set(seen)) == len(seen)
    (tmp_path / "rules" / "b.yaml").unlink()
    write(tmp_path, "schedule: {}\n")
    assert inputs_hash(config) == seen[0]
