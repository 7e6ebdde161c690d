"""The documentation: generated pages are up to date, links lead somewhere, the notebook runs."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from etude import config
from etude.__main__ import _parse, _parser
from etude.config.base import merge
from etude.config.reading import load_config
from etude.errors import UserError
from etude.reference import USUAL, render_commands, render_reference

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
MOST_LINES, MOST_MEDIA = 125, 2**20  # of the README, and bytes of its picture and sounds


def test_the_commands_page_is_up_to_date():
    written = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert written == render_commands(_parser()), "run: python -m etude config --write"


def test_the_commands_page_has_every_command_and_option():
    page = render_commands(_parser())
    (commands,) = (a for a in _parser()._actions if a.choices)
    for name, command in commands.choices.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for action in command._actions:
            assert action.dest == "help" or any(
                f"`{one}`" in section for one in action.option_strings or [action.dest]
            ), (name, action)


def test_the_usual_keys_come_first():
    page = render_reference()
    assert len(USUAL) == 15
    assert page.index("## The usual keys") < page.index("## The whole")
    for key, model, name in USUAL:
        assert f"| `{key}` |" in page
        assert model.model_fields[name].description, f"{key} says nothing"


def test_each_topic_of_decisions_has_context_decisions_and_consequences():
    index = (DOCS / "decisions.md").read_text(encoding="utf-8")
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert pages
    for page in pages:
        assert f"(decisions/{page.name})" in index
        heads = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert heads == ["Context", "Decisions", "Consequences"], page.name


def test_the_readme_is_short_and_its_picture_and_sounds_are_small():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    media = {ROOT / name for name in re.findall(r"\((docs/media/[^)]+)\)", text)}
    assert {"real.mp3", "generated.mp3", "chance.mp3"} < {path.name for path in media}
    assert any(path.suffix in (".webp", ".png") for path in media)
    assert sum(path.stat().st_size for path in media) < MOST_MEDIA


# ---------------------------------------------------------------------------- examples in pages


def blocks(kind):
    """(page, text) of each block of code of a kind; `` is a block without a name: commands."""
    for page in PAGES:
        for name, text in FENCE.findall(page.read_text(encoding="utf-8")):
            if name == kind:
                yield page.relative_to(ROOT).as_posix(), text


def commands():
    """(page, words) of each command of Étude in the pages' blocks, without what is not to type."""
    for page, text in blocks(""):
        for line in text.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:\.venv/bin/)?python -m etude (.*)", line)
            if found and not re.search(r"[…$]|error:", found[1]):
                yield page, shlex.split(found[1], comments=True)


@pytest.mark.slow
def test_commands_in_pages_can_be_typed(capsys):
    """Options that there are, with values that they take; what they name may be the reader's."""
    every = list(commands())
    assert len(every) > 30
    for page, words in every:
        try:
            _parse(words)
        except SystemExit:
            pytest.fail(f"{page}: python -m etude {' '.join(words)}: {capsys.readouterr().err}")


def test_targets_and_presets_in_pages_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page, text in blocks(""):
        asked = re.findall(r"^(?:\$ )?make ([a-z-]+)", text, re.MULTILINE)
        assert set(asked) <= targets, (page, asked)
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").splitlines()
        said = "\n".join(line for line in lines if "not yet" not in line)
        for name in re.findall(r"config/presets/([a-z_]+)\.yaml", said):
            assert (ROOT / "config/presets" / f"{name}.yaml").is_file(), (page, name)


def test_configurations_in_pages_are_valid():
    """Each block of YAML over the default, a reader's folders and the page's blocks before it."""
    default = yaml.safe_load(config.DEFAULT.read_text(encoding="utf-8"))
    folder = {"source": "folder", "path": "/path/to/music"}
    default = merge(default, {"corpora": {"mine": folder, "ours": folder}})
    raw, checked = {}, 0
    for page, text in blocks("yaml"):
        if "…" in text or not isinstance(mine := yaml.safe_load(text), dict):
            continue
        if set(mine) <= {*config.Config.model_fields, "defaults"}:
            raw[page] = merge(raw.get(page, default), mine)
            try:
                load_config(raw[page])
            except UserError as error:
                pytest.fail(f"{page}: {error}\n{text}")
            checked += 1
    assert checked > 8


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    """Sphinx warns of every link to a page, a heading or a file that is not there."""
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--builder", "dummy"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "-c", "docs", ".", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_notebook_runs(monkeypatch):
    """As it stands, cell by cell, in one namespace; its asserts say whether it is right."""
    monkeypatch.chdir(DOCS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    cells = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    namespace: dict[str, object] = {}
    for number, source in enumerate(code, 1):
        exec(compile(source, f"notebook, cell {number}", "exec"), namespace)
    assert len(namespace["clips"]) == 2
