"""One tiny file per mistake in ``tests/rules``; the message beside it is exactly what a user sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_names import NAMES, SCENARIOS

from monitor.model import InputError
from monitor.rulefile import load_rules

HERE = Path(__file__).parent / "rules"
BAD = sorted(path.name for path in HERE.glob("*.bad.yaml"))


def message(*files: str) -> str:
    with pytest.raises(InputError) as caught:
        load_rules([Path(file) for file in files], NAMES, SCENARIOS)
    return f"{caught.value}\n"


@pytest.mark.parametrize("file", BAD)
def test_the_message_is_the_one_beside_the_file(file, monkeypatch):
    """What is wrong, the line, carets under the characters, what to write instead."""
    monkeypatch.chdir(HERE)
    assert message(file) == (HERE / file.replace(".bad.yaml", ".txt")).read_text(encoding="utf-8")


def test_every_message_belongs_to_a_file_and_each_is_its_own():
    """No text without its file, and enough files that a family of mistakes is not forgotten."""
    texts = {path.stem for path in HERE.glob("*.txt")}
    assert texts == {file.removesuffix(".bad.yaml") for file in BAD}
    assert len(BAD) > 50


def test_carets_stand_under_the_characters_that_are_wrong():
    """In plain, quoted, folded and literal text the marked characters are the mistake itself."""
    for name, wrong in [
        ("unknown_name", "ltv_economc"),
        ("quoted", "dsc"),
        ("folded", "recourse_shar"),
        ("plain_over_two_lines", "recourse_shar"),
        ("clear_broken", "80%%"),
        ("placeholder_unknown", "{ltv_econ:.0%}"),
    ]:
        _, line, carets, *_ = (HERE / f"{name}.txt").read_text(encoding="utf-8").split("\n")
        start = carets.index("^")
        assert line[start : start + carets.count("^")] == wrong, name


def test_all_mistakes_of_all_files_come_at_once(monkeypatch):
    """Two files are told in one go, in their order, and a file that cannot be read is one of them."""
    monkeypatch.chdir(HERE)
    told = message("unknown_name.bad.yaml", "severity.bad.yaml", "nowhere.yaml")
    assert "unknown_name.bad.yaml:2:9:" in told
    assert "severity.bad.yaml:3:13:" in told
    assert "nowhere.yaml:1:1: cannot be read" in told


def test_a_name_is_unique_over_files(tmp_path):
    """The second file is told where the first one is."""
    rule = "- {alert: Same, expr: dscr < 1, severity: info, summary: low}\n"
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(rule, encoding="utf-8")
    with pytest.raises(InputError, match=r"b.yaml:1:11: Same is already the name of the rule at .*a.yaml:1"):
        load_rules(tmp_path, NAMES, SCENARIOS)


def test_a_broken_rule_is_not_called_missing_by_another(tmp_path):
    """What a faulty rule inhibits or is inhibited by is judged by its name alone."""
    text = (
        "- {alert: First, expr: dsc < 1, severity: info, summary: low}\n"
        "- {alert: Second, expr: dscr < 1, severity: info, summary: low, inhibits: [First]}\n"
    )
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_rules(tmp_path, NAMES, SCENARIOS)
    assert [p.message for p in caught.value.problems] == ["unknown name 'dsc'"]
