"""Messages have codes: all of them, in step with docs/messages.md, and tests pin nothing else."""

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
