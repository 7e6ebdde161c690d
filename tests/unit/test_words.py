"""Plain English where people read: README, docs, presets, the page, descriptions of keys, commands;
docstrings and comments too.

A word on the left is a house word or a word for word translation; on the right is what a native
speaker would write. A line that has to have one of them (a quotation) is named in QUOTED.
"""

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BETTER = {
    r"hangs? on": "depends on",
    r"so many(?! that)": "this many, as many",
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again",
    r"(go|goes|going|gone) on from": "continue",
    r"stands? in (?!for|front)": "is in",
    r"at the (most|least)": "at most, at least",
    r"by lot": "at random",
    r"dealt out": "distributed",
    r"foretell\w*": "predict",
    r"in the midst of": "in the middle of",
    r"deaf to": "misses",
    r"rungs?": "search (for copies), step (of the ladder)",
    r"cannot be had": "is not available",
    r"of the user's own": "of your own",
    r"of one's own": "of your own",
    r"is none of symbols": "is not symbolic",
    r"(the|these) seed's": "the name of the project: we-sharp, MidiLM, Neuromusic, ...",
    r"(as|of) the seed (has|does|did|trains?|trained|itself)": "the name of the project",
    r"the seed (trains?|trained|took|takes|keeps|kept|drops|moves|stops)": "the name of the project",
    r"the seeds' (full )?sizes": "the originals' sizes",
    r"who (wants|keeps|lives in) \w+ (types?|asks?|changes)": "if you want ..., ...",
    r"near package index": "fast package mirror",
    r"mostly (nothing|none|empty)": "usually nothing",
    r"(take|takes|took|taken) their consent back": "withdraw",
    r"seldomer": "less often",
    r"which nobody wants": "say what it costs",
    r"made ready": "prepared",
    r"pairs besides": "extra pairs",
    r"a word is said": "there is a warning",
    r"whoever only": "those who only",
    r"her who": "the user who",
}
QUOTED = {
    "docs/first-hour.md": ("going on from step",),  # what a program printed
}
# Written by other means: by scripts (benchmarks), as it was then (changelog).
NOT_HERE = {"docs/benchmarks.md", "CHANGELOG.md", "docs/scaling.md"}
READ = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/**/*.md",
    "docs/captions/*.rst",
    "docs/*.ipynb",
    "config/README.md",
    "config/config.yaml",
    "config/presets/*.yaml",
    "models/*.md",
    "etude/report/*.j2",
)


def found_in(text: str, quoted: tuple[str, ...] = ()) -> list[str]:
    """Lines with such a word, and the better one."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        # Names of keys and tests, and a template's variables, are what they are.
        plain = re.sub(r"`[^`]*`|\{\{.*?\}\}|\{%.*?%\}", "``", line)
        for word, better in BETTER.items():
            hit = re.search(
                rf"\b{word}\b" if word[-1] != ")" else rf"\b{word}", plain, re.IGNORECASE
            )
            if hit and not any(said in line for said in quoted):
                lines.append(f"{number}: {hit[0]!r} (better: {better}): {line.strip()[:120]}")
    return lines


def files() -> list[str]:
    """What git knows of the texts that people read."""
    listed = subprocess.run(
        ["git", "ls-files", *READ], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    return sorted(set(listed) - NOT_HERE) or [
        str(path.relative_to(ROOT)) for glob in READ for path in sorted(ROOT.glob(glob))
        if str(path.relative_to(ROOT)) not in NOT_HERE
    ]  # fmt: skip


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def prose(source: str) -> str:
    """The docstrings (without their examples) and the comments of a module, on their lines."""
    lines, kept = source.splitlines(), {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            for number in range(node.body[0].lineno, node.body[0].end_lineno + 1):
                if not lines[number - 1].lstrip().startswith((">>>", "...")):
                    kept[number] = lines[number - 1]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            kept[token.start[0]] = token.string
    return "\n".join(kept.get(number, "") for number in range(1, len(lines) + 1))


def test_docstrings_and_comments_are_in_plain_english():
    bad = []
    for folder in ("etude", "scripts", "rules"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            bad += [
                f"{path.relative_to(ROOT)}:{line}"
                for line in found_in(prose(path.read_text(encoding="utf-8")))
            ]
    assert not bad, "\n".join(bad)


@pytest.mark.slow
@pytest.mark.parametrize("name", files())
def test_texts_are_in_plain_english(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not found_in(text, QUOTED.get(name, ())), name


def test_the_list_finds_what_it_is_for():
    assert found_in("All that hangs on it was made anew.")
    assert found_in("as the seed does")
    assert not found_in("the training seed depends on nothing")
    assert not found_in("`stands_in` is a key")
