"""Messages have codes: all of them, in step with docs/messages.md, and tests pin nothing else."""

import ast
import pickle
import re
from pathlib import Path

from etude.errors import UserError
from etude.messages import messages, render_messages

ROOT = Path(__file__).resolve().parents[2]


def test_every_message_has_a_code():
    passed_on = {("etude/errors.py", "…"), ("etude/plugins.py", "…")}  # from another message
    found = [m for m in messages() if (m.path, m.what) not in passed_on]
    assert len(found) > 350
    wrong = [m for m in found if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){0,4}", m.code)]
    assert not wrong, wrong


def test_the_page_of_messages_is_up_to_date():
    written = (ROOT / "docs/messages.md").read_text(encoding="utf-8")
    assert written == render_messages(), "run: python -m etude config --write"
    codes = re.findall(r"^\| `([^`]+)` \|", written, re.MULTILINE)
    assert codes == sorted(set(codes))
    assert set(codes) == {m.code for m in messages()} - {""}


def test_a_message_shows_its_code_and_keeps_it_on_the_way_between_processes():
    error = UserError("not valid:\n  a: b", code="invalid-x", where="here", why="w", do="d")
    lines = ["not valid: [invalid-x]", "  a: b", "  where: here", "  why:   w", "  do:    d"]
    assert str(error).split("\n") == lines
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.code, again.where) == (str(error), "invalid-x", "here")


# ------------------------------------------------------------------------------- what tests pin

MISTAKES = {"UserError", "AudioError", "MidiError", "ConfigError", "ValidationError"}
ABOUT_ONE = ("error.", "caught", ".err", "error[")
MOST_WORDINGS = 26  # it may only fall


def calls_of_tests():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.name, node


def test_no_test_pins_a_mistake_by_the_words_of_its_message():
    """`refused`, `invalid` and `unusable` check codes and values; words may get better."""
    wrong = []
    for name, node in calls_of_tests():
        match node:
            case ast.Call(func=ast.Attribute(attr="raises"), args=[kind, *_], keywords=[_, *_]):
                of = {part.id for part in ast.walk(kind) if isinstance(part, ast.Name)}
                if of & MISTAKES:
                    wrong.append(f"{name}:{node.lineno}")
            case ast.Call(func=ast.Name(id="refused" | "unusable" | "invalid"), args=[_, *named]):
                for part in named:
                    words = re.findall(r"(?<![\w'`-])[a-z]{3,}(?![\w'`-])", ast.unparse(part))
                    if isinstance(part, ast.Constant) and len(words) > 4:
                        wrong.append(f"{name}:{node.lineno}: {ast.unparse(part)}")
    assert not wrong, wrong


def test_ever_fewer_tests_look_for_words_in_messages():
    """A sentence in what a mistake says; the ceiling is the number of those that are left."""
    found = [
        f"{name}:{node.lineno}: {node.left.value}"
        for name, node in calls_of_tests()
        if isinstance(node, ast.Compare)
        and isinstance(node.ops[0], ast.In)
        and isinstance(node.left, ast.Constant)
        and len(str(node.left.value).split()) > 1
        and any(word in ast.unparse(node.comparators[0]) for word in ABOUT_ONE)
    ]
    assert len(found) <= MOST_WORDINGS, found
