"""docs/messages.md: the code of every message, and what it says, read from the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

PACKAGE = Path(__file__).parent
HEAD = """# Messages

Written by `python -m etude config --write` from the code; do not edit.

A mistake that you can fix is reported without a traceback: what happened, where, why, and what to
do. The first line ends in a code, `[not-trained-yet]`; a mistake in the configuration is a line
with its key in front and a code behind. The words of a message may get better, its code stays, so
search for the code, here or among the issues. `…` stands for what differs.

| code | what it says | what to do |
|---|---|---|"""


@dataclass(frozen=True, order=True)
class Message:
    """A place where a mistake is reported; values that differ are written as `…`."""

    code: str
    what: str
    why: str
    do: str
    path: str
    line: int


def messages() -> list[Message]:
    """All of the package, by code."""
    found: list[Message] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        words = _assigned(tree)
        for call in calls(tree):
            what, *more = (_words(part, words) for part in call.args)
            said = {key.arg: _words(key.value, words) for key in call.keywords}
            if isinstance(call.func, ast.Name) and call.func.id == "fault":
                said["code"], what = what, more[0].removeprefix(": ")
            parts = [said.get(key, "") for key in ("code", "why", "do")]
            code, why, do = ("" if part == "…" else part for part in parts)
            name = path.relative_to(PACKAGE.parent).as_posix()
            found.append(Message(code, what, why, do, name, call.lineno))
    return sorted(found)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """The places where a mistake of the user's, or of the configuration, is reported."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="UserError" | "ConfigError" | "fault"), args=[_, *_]):
                yield node


def render_messages() -> str:
    """The whole page as Markdown."""
    rows = [HEAD]
    known = [message for message in messages() if message.code and message.what != "…"]
    for code, places in groupby(known, key=lambda message: message.code):
        texts = dict.fromkeys((_says(m), _cell(m.do)) for m in places)
        for number, (says, do) in enumerate(texts):
            rows.append(f"| {'' if number else f'`{code}`'} | {says} | {do} |")
    return "\n".join([*rows, ""])


def _says(message: Message) -> str:
    return _cell(message.what + (f" ({message.why})" if message.why.strip("… ") else ""))


def _cell(text: str) -> str:
    """Text for a table: code stays code, and nothing else is markup."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()).replace("|", "\\|"))
    quiet = (
        re.sub(r"([\\*_\[\]<>$])", r"\\\1", p) if i % 2 == 0 else p for i, p in enumerate(parts)
    )
    return "".join(quiet)


def _assigned(tree: ast.Module) -> dict[str, str]:
    """Names that stand for one text in the whole module."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.setdefault(name, set()).add(_words(value, {}))
    return {name: text for name, (text, *more) in found.items() if not more and text.strip("…")}


def _words(node: ast.expr, constants: dict[str, str]) -> str:
    """The words of an expression, as far as its text says them."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(_words(part, constants) for part in node.values)
        case ast.FormattedValue(value=ast.Name(id=name)) if name.isupper():
            return constants.get(name, "…")
        case ast.Name(id=name):
            return constants.get(name, "…")
        case ast.IfExp(body=one, orelse=other):
            either = dict.fromkeys((_words(one, constants), _words(other, constants)))
            return " / ".join(filter(None, either))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _words(left, constants) + _words(right, constants)
        case ast.Call(func=ast.Name(id="closest")):
            return ""  # `(did you mean …?)` is there where something is near
    return "…"
