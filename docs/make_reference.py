"""Write docs/reference from the code: commands, metrics, words, the fields of a rule and of the configuration.

``python docs/make_reference.py``
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from monitor.cli import cli
from monitor.config import ConfigText
from monitor.functions import WORDS
from monitor.metrics import METRICS
from monitor.rulefile import rule_schema
from monitor.units import format_age

ROOT = Path(__file__).resolve().parents[1]
MADE = "<!-- made by docs/make_reference.py; edits here are lost -->\n"


def pages() -> dict[str, str]:
    """Every page of the reference: file name -> text."""
    return {
        "commands.md": commands_page(),
        "metrics.md": metrics_page(),
        "words.md": words_page(),
        "rule.md": rule_page(),
        "config.md": config_page(),
    }


# ---------------------------------------------------------------- commands
def commands_page() -> str:
    """One section a command, with its options."""
    parts = ["# Commands\n", MADE, "Every command also takes `--config FILE`, `--offline`, `--json` and `--plain`.\n"]
    for path, command in _commands(cli, "canary"):
        usage = " ".join([path, *(_argument(one) for one in command.params if isinstance(one, click.Argument))])
        parts.append(f"## {path}\n\n    {usage}\n\n{_prose(command.help or '')}\n")
        shared = {"config_path", "offline", "as_json", "plain"}
        options = [one for one in command.params if isinstance(one, click.Option) and one.name not in shared]
        if options:
            rows = "\n".join(f"| `{_option(one)}` | {_cell(one.help or '')} |" for one in options)
            parts.append(f"| option | what |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def _commands(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                found.append((f"{path} {name}", command))
            found += _commands(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found


def _argument(one: click.Argument) -> str:
    text = str(one.metavar or one.name).upper()
    return text if one.required or text.startswith("[") else f"[{text}]"


def _option(one: click.Option) -> str:
    value = "" if one.is_flag else f" {one.metavar or one.name}"
    return f"{', '.join(one.opts)}{value}"


def _prose(text: str) -> str:
    return "\n".join(line if line.strip() != "\b" else "" for line in text.strip().splitlines())


# ---------------------------------------------------------------- numbers and words
def metrics_page() -> str:
    """One table a level."""
    parts = ["# Metrics\n", MADE, "The numbers a rule can name. In a rule about borrowers a facility metric is that of "
             "the worst facility.\n"]  # fmt: skip
    for level in ("market", "borrower", "facility"):
        rows = "\n".join(
            f"| `{one.name}` | {one.unit} | {_worse(one.worst)} | {_cell(one.doc)} | {_needs(one.name, one.needs)} |"
            for one in METRICS.values()
            if one.level == level
        )
        head = "| metric | unit | worse | meaning | needs |\n|---|---|---|---|---|"
        parts.append(f"## Of the {level}\n\n{head}\n{rows}\n")
    return "\n".join(parts)


def _worse(worst: str) -> str:
    return {"max": "higher", "min": "lower"}.get(worst, "")


def _needs(name: str, needs: tuple[str, ...]) -> str:
    return ", ".join(f"`{need}`" for need in needs if need != name)


def words_page() -> str:
    """One table of all words."""
    rows = []
    for word in WORDS.values():
        usage, _, meaning = word.doc.partition(": ")
        rows.append(f"| `{usage}` | {_cell(meaning)} |")
    head = "# Words\n\n" + MADE + "\nWhat an expression may say beside numbers, `and`, `or`, `not` and comparisons.\n\n"
    return head + "| word | what |\n|---|---|\n" + "\n".join(rows) + "\n"


# ---------------------------------------------------------------- files
def rule_page() -> str:
    """The fields of a rule, from the schema editors use."""
    schema = rule_schema()
    return "# The fields of a rule\n\n" + MADE + "\n" + _schema_table(_object(schema, schema), schema)


def config_page() -> str:
    """The fields of the configuration, section by section."""
    schema = ConfigText.model_json_schema()
    parts = ["# config.yaml\n", MADE, "Every field may be left out. A span is written `15m`, a secret never here.\n"]
    parts += _sections("", schema, schema, set())
    return "\n".join(parts)


def _sections(path: str, node: dict[str, Any], schema: dict[str, Any], seen: set[str]) -> list[str]:
    body = _object(node, schema)
    title = f"## `{path}`\n\n" if path else ""
    parts = [title + _cell(body.get("description", "")) + "\n\n" + _schema_table(body, schema)]
    for name, field in body.get("properties", {}).items():
        for inner in _inner(field, schema):
            where = f"{path}.{name}".lstrip(".")
            if where not in seen:
                seen.add(where)
                parts += _sections(where, inner, schema, seen)
    return parts


def _inner(field: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects a field is made of, through lists and maps."""
    found = []
    for one in (field, field.get("items", {}), field.get("additionalProperties", {}), *field.get("anyOf", ())):
        if isinstance(one, dict) and "$ref" in one and "properties" in _object(one, schema):
            found.append(one)
    return found


def _object(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if node.get("type") == "array" and "items" in node:
        return _object(node["items"], schema)
    return node


def _schema_table(body: dict[str, Any], schema: dict[str, Any]) -> str:
    """The fields of a section; the column of meanings only where somebody wrote one."""
    required, fields = set(body.get("required", ())), body.get("properties", {})
    told = any("description" in field for field in fields.values())
    rows = []
    for name, field in fields.items():
        default = "required" if name in required else _default(field)
        meaning = f" {_cell(field.get('description', ''))} |" if told else ""
        rows.append(f"| `{name}` | {_type(field, schema)} | {default} |{meaning}")
    head = "| field | what is written | default |" + (" meaning |" if told else "")
    return f"{head}\n|---|---|---|{'---|' if told else ''}\n" + "\n".join(rows) + "\n"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if field.get("format") == "span" and value is not None:
        return f"`{format_age(float(value)).replace(' ', '')}`"
    if value in (None, "", [], {}, ()) or isinstance(value, dict):
        return ""
    return "`" + _cell(", ".join(map(str, value)) if isinstance(value, list) else str(value)) + "`"


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(one, schema) for one in field["anyOf"] if one.get("type") != "null"))
    if "$ref" in field:
        body = _object(field, schema)
        return "a section" if "properties" in body else _type(body, schema)
    if field.get("format") == "span":
        return "a span such as `15m`"
    kind = field.get("type", "text")
    if kind == "array":
        return f"list of {_type(field.get('items', {}), schema)}"
    return {"object": "a map", "string": "text", "boolean": "`true` or `false`", "integer": "whole number"}.get(
        kind, kind
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write every page."""
    folder = ROOT / "docs" / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"{len(pages())} pages in {folder.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
