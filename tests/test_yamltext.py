"""Strict YAML: what is refused, how it is said, and that hostile text costs little."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.model import InputError
from monitor.yamltext import Duration, Quantity, Strict, Text, parse, parse_tree, read_file


class Inner(Strict):
    rate: Quantity
    kind: str = "x"


class Outer(Strict):
    name: str
    when: date | None = None
    wait: Duration = 0
    items: list[Inner] = []


def problems_of(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse(Outer, Text(text, "x.yaml"))
    return [str(problem) for problem in caught.value.problems]


def test_yaml_traps_stay_text() -> None:
    """NO, on, 12:30 and 010 are text; a date is read as a date."""
    tree = parse_tree(Text("a: NO\non: yes\nb: 12:30\nc: 010\nd: 1e-3\n", "x.yaml")).plain()
    assert tree == {"a": "NO", "on": "yes", "b": "12:30", "c": "010", "d": 0.001}
    assert parse(Outer, Text("name: a\nwhen: 2026-08-12\n", "x.yaml")).when == date(2026, 8, 12)


def test_units_are_read() -> None:
    """1.5bn, 25% and 300bp are numbers; 15m is a quarter of an hour."""
    outer = parse(Outer, Text("name: a\nwait: 15m\nitems: [{rate: 300bp}, {rate: 1.5bn}]\n", "x.yaml"))
    assert (outer.wait, outer.items[0].rate, outer.items[1].rate) == (900, 0.03, 1.5e9)


def test_every_problem_at_once_with_place_and_fix() -> None:
    """Two unknown keys, a wrong number and a missing field are four problems, each with its line."""
    text = "nmae: a\nitems:\n  - {rate: 12 parsecs}\n  - {knid: y}\n"
    shown = problems_of(text)
    assert any("x.yaml:1:1: unknown key 'nmae'" in s and "did you mean 'name'?" in s for s in shown)
    assert any("x.yaml:3:12:" in s and "unknown unit 'parsecs'" in s and "^^^^^^^^^^" in s for s in shown)
    assert any("x.yaml:4:6: unknown key 'knid'" in s and "did you mean 'kind'?" in s for s in shown)
    assert any("'rate' is missing" in s for s in shown)
    assert len(shown) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nname: b\n", "key 'name' is written twice (first on line 1)"),
        ("name: a\nitems:\n\t- {rate: 1}\n", "a tab is used for indentation"),
        ("a: &x [1]\nb: *x\n", "anchor &x is not allowed"),
        ("name: !!python/object:os.system x\n", "tag"),
        ("name: a\n---\nname: b\n", "a second document starts here"),
        ("name: 'a\u202eb'\n", "hidden character U+202E"),
        ("", "is empty"),
        ("name: {a: b\n", "not readable as YAML"),
        ("name: a\nwait: 900\n", "has no unit"),
        ("name: [a]\n", "must be text"),
        ("items: 3\nname: a\n", "must be a list"),
        ("name: a\nitems: [{rate: .nan}]\n", "is not a number"),
        ("name: a\nitems: [{rate: 1e999}]\n", "rate"),
        ("[" * 60 + "]" * 60, "nested deeper than 24 levels"),
    ],
)
def test_refused_and_said(text: str, said: str) -> None:
    """Each mistake is refused and its sentence says what it is."""
    assert any(said in shown for shown in problems_of(text)), problems_of(text)


def test_hostile_size_is_cheap() -> None:
    """A bomb of aliases, nesting or keys is refused within a second."""
    started = time.perf_counter()
    for text in ("a: " + "[" * 100_000, "- x\n" * 450_000, "a: &a [" + "*a," * 10_000 + "]"):
        with pytest.raises(InputError):
            parse_tree(Text(text, "x.yaml"))
    assert time.perf_counter() - started < 20  # a hang, not a speed, is what this guards against


def test_unreadable_files_are_said(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are not text give a sentence, not a traceback."""
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for name, said in (("none.yaml", "cannot be read"), ("", "cannot be read"), ("latin.yaml", "is not UTF-8")):
        with pytest.raises(InputError, match=said):
            read_file(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_a_tree_or_a_problem(text: str) -> None:
    """No text whatever makes the reader raise anything but InputError."""
    try:
        parse(Outer, Text(text, "x.yaml"))
    except InputError as error:
        assert str(error)
