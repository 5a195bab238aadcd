"""Stress scenarios as people write them: strict YAML -> :class:`monitor.stress.scenario.Scenario`, one per file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from monitor.model import InputError, Problem
from monitor.stress.lots import GPU_MODELS
from monitor.stress.scenario import FACTORS, PATH_AXES, Move, Scenario, Verb
from monitor.yamltext import (
    Duration,
    Node,
    Quantity,
    Strict,
    Text,
    check,
    collect,
    find,
    parse_tree,
    read_file,
    suggest,
)

MONTH_S = 30.4375 * 86400.0
#: models a move may name beside those of the book
MODELS = (*GPU_MODELS, "B300", "GB200", "GB300", "ASIC")
VERBS: tuple[Verb, ...] = ("by", "to", "add")
_VINTAGE = re.compile(r"(<|>=)?\s*(\d{4})(?:-(\d{2}))?")


class WhereText(Strict):
    model: str | None = None
    vintage: str | int | None = None
    counterparty: str | None = None


class MoveText(Strict):
    factor: str
    by: Quantity | None = None
    to: Quantity | None = None
    add: Quantity | None = None
    where: WhereText = WhereText()
    over: Duration = 0.0


class ScenarioText(Strict):
    """One file ``scenarios/<name>.yaml``."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")]
    note: str = ""
    capex: Literal["stop", "committed"] = "committed"
    correlation: dict[str, Annotated[Quantity, Field(ge=-1, le=1)]] = {}
    moves: Annotated[list[MoveText], Field(min_length=1, max_length=100)]


def load_scenarios(folder: Path, models: Collection[str] = ()) -> tuple[Scenario, ...]:
    """Read every ``*.yaml`` of a folder, in order of name. Raises InputError with every problem of every file.

    models: hardware models of the book a move may name beside the well-known ones.
    """
    problems: list[Problem] = []
    found: dict[str, Scenario] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            text = read_file(path)
            scenario = read_scenario(text, models)
        except InputError as error:
            collect(problems, error)
            continue
        if scenario.name in found:
            first = Path(found[scenario.name].file).name
            problems.append(text.problem(f"scenario {scenario.name!r} is already in {first}", "give it another name"))
        else:
            found[scenario.name] = scenario
    if problems:
        raise InputError(problems)
    return tuple(found[name] for name in sorted(found))


def read_scenario(text: Text, models: Collection[str] = ()) -> Scenario:
    """Read one scenario. Raises InputError with every problem found in it.

    >>> read_scenario(Text("name: winter\\nmoves: [{factor: btc, by: -40%}]\\n", "winter.yaml")).moves
    (Move(factor='btc', verb='by', amount=-0.4, model='', counterparty='', before=None, since=None, over_months=0.0),)
    """
    tree = parse_tree(text)
    written = check(ScenarioText, tree, text)
    known = sorted({*MODELS, *models})
    problems = [*_pairs(written, tree, text)]
    for i, move in enumerate(written.moves):
        problems.extend(_move_problems(move, find(tree, ("moves", i)), text, known))
    if problems:
        raise InputError(sorted(problems, key=lambda p: (p.line, p.column)))
    return Scenario(
        name=written.name,
        moves=tuple(_move(move) for move in written.moves),
        note=written.note,
        capex_rule=written.capex,
        correlation=dict(written.correlation),
        file=text.file,
    )


def _pairs(written: ScenarioText, tree: Node, text: Text) -> Iterator[Problem]:
    """Correlations are written ``btc/rent: 35%``: two different factors that simulated paths have an axis for."""
    for pair in written.correlation:
        parts = pair.split("/")
        node = find(tree, ("correlation",)).keys.get(pair)
        if len(parts) != 2 or parts[0] == parts[1]:
            yield text.problem(f"{pair!r} is not a pair of factors", "write for example btc/rent: 35%", node)
            continue
        for part in parts:
            if part not in PATH_AXES:
                what = "has no axis on simulated paths" if part in FACTORS else "is no factor"
                yield text.problem(f"{part!r} {what}", f"use two of {', '.join(PATH_AXES)}", node)


def _move_problems(move: MoveText, node: Node, text: Text, models: list[str]) -> Iterator[Problem]:
    info = FACTORS.get(move.factor)
    if info is None:
        fix = suggest(move.factor, list(FACTORS))
        yield text.problem(f"unknown factor {move.factor!r}", fix, find(node, ("factor",)))
        return
    given = [verb for verb in VERBS if getattr(move, verb) is not None]
    allowed = " or ".join(f"{verb}:" for verb in info.verbs)
    if len(given) != 1:
        yield text.problem(f"a move of {move.factor} needs exactly one of {allowed}", f"write {allowed}", node)
    elif given[0] not in info.verbs:
        place = node.value[given[0]]
        yield text.problem(f"{move.factor} cannot be moved with {given[0]!r}", f"write {allowed} ({info.unit})", place)
    else:
        yield from _bounds(move, given[0], node, text)
    for key in ("model", "vintage", "counterparty"):
        if getattr(move.where, key) is not None and key not in info.where:
            fix = f"it takes where: {{{', '.join(info.where)}}}" if info.where else "delete it"
            yield text.problem(f"{move.factor} has no {key!r}", fix, find(node, ("where", key)))
    model = move.where.model
    if model is not None and "model" in info.where and model.upper() not in {name.upper() for name in models}:
        place = find(node, ("where", "model"))
        yield text.problem(f"unknown model {model!r}", suggest(model.upper(), models), place)
    if move.where.vintage is not None and "vintage" in info.where and _vintage(move.where.vintage) is None:
        place = find(node, ("where", "vintage"))
        yield text.problem("is not a vintage", "write '<2024', '>=2024-07' or 2024", place)


def _bounds(move: MoveText, verb: Verb, node: Node, text: Text) -> Iterator[Problem]:
    info, amount = FACTORS[move.factor], float(getattr(move, verb))
    level = 1 + amount if verb == "by" else amount
    if not info.low <= level <= info.high:
        rule = f"between {info.low:g} and {info.high:g} ({info.unit})"
        what = "the level after the move" if verb == "by" else "the value"
        yield text.problem(f"{move.factor}: {what} {level:g} is not {rule}", f"write one {rule}", node.value[verb])


def _vintage(written: str | int) -> tuple[date | None, date | None] | None:
    """(since, before) of a vintage condition; None if it is not one.

    >>> _vintage("<2024"), _vintage(2024)[0]
    ((None, datetime.date(2024, 1, 1)), datetime.date(2024, 1, 1))
    """
    match = _VINTAGE.fullmatch(str(written).strip())
    if match is None or not 2009 <= int(match[2]) <= 2100 or not 1 <= int(match[3] or 1) <= 12:
        return None
    start = date(int(match[2]), int(match[3] or 1), 1)
    if match[1] == "<":
        return None, start
    if match[1] == ">=":
        return start, None
    months = 1 if match[3] else 12
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return start, date(year, month + 1, 1)


def _move(move: MoveText) -> Move:
    verb = next(verb for verb in VERBS if getattr(move, verb) is not None)
    vintage = None if move.where.vintage is None else _vintage(move.where.vintage)
    since, before = vintage or (None, None)
    return Move(
        factor=move.factor,
        verb=verb,
        amount=float(getattr(move, verb)),
        model=(move.where.model or "").upper(),
        counterparty=move.where.counterparty or "",
        before=before,
        since=since,
        over_months=move.over / MONTH_S,
    )
