"""No command ends in a traceback for a user's mistake: each option of each gets what it cannot use.

The options are argparse's own, so a new one is walked through as well.
"""

from __future__ import annotations

import argparse
import shutil

import numpy as np
import pytest
from tiny_experiments import make_notes, make_sound

from etude.__main__ import _parse, _parser, main
from etude.audio.files import write_wav
from etude.config import RemiZ
from etude.generation.export import export
from etude.midi.writing import plain_table, write_midi
from etude.storage import write_csv, write_json
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer

# What each command is given beside the option that is tried; `generate` once for each system.
GIVEN = {
    "audit": {"folder": "music"},
    "generate": {"--from": "notes.out", "--seconds": "1", "--clips": "1"},
    "generate sound": {"--from": "sound.out", "--seconds": "0.4", "--clips": "1"},
    "generate here": {"--experiment": "notes", "--configfile": "mine.yaml", "--seconds": "1"},
    "continue": {"midi": "music/a.mid", "--from": "notes.out", "--bars": "1", "--top-k": "300"},
    "export": {"--experiment": "notes", "--configfile": "mine.yaml", "--output": "new.out"},
    "tokens": {"file": "music/a.mid", "--tokenizer": "remi_z", "--output": "new.jsonl"},
    "evaluate": {"--baseline": "real", "--eval": "made", "--cache": "cache", "--workers": "1"},
    "exchange": {"folder": "real", "--form": "concepts", "--output": "new.tables"},
    "compare": {"a": "notes", "b": "mine"},
    "table": {"--partial": "plan.json"},
    "table of a run": {"--publish": "full"},
    "paper": {},
    "config": {"--configfile": "mine.yaml"},
    "listen": {"--page": "new.page", "--results": "heard", "--pairs": "1"},
    "clean": {"--configfile": "mine.yaml"},
    "snippets": {"folder": "real", "--output": "new.snippets"},
    "captions": {"folder": "real", "--page": "new.html"},
    "doctor": {"--configfile": "mine.yaml"},
    "verify": {"--configfile": "mine.yaml"},
}
ELSEWHERE = {
    "resume": "Snakemake reads its arguments",
    "graph": "it has none",
    "pack": "it needs clips: test_take_along.py",
    "train": "it starts Snakemake: test_one_line.py",
    "withdraw": "it needs a corpus with owners: test_withdrawal.py",
    "studio": "it serves until it is stopped: test_studio_guard.py",
}
# What starts a process of its own, and what is for that alone.
OUTSIDE = {("table", "--page"), ("table", "--configfile")}
PLAN = {
    "tables": [],
    "replicates": [],
    "rivals": [],
    "concepts": [],
    "gated": [],
    "hashes": {},
    "failed": {},
}
PLAN |= {"evaluation": {}}

NUMBERS = {"negative": "-5", "huge": "1" + "0" * 40, "nan": "nan", "infinite": "inf"}
PLACES = {
    "empty": "",
    "missing": "no/such",
    "empty file": "empty",
    "junk": "junk",
    "folder": "full",
    "empty folder": "bare",
    "below a file": "junk/below",
    "broken link": "broken",
    "link in a circle": "circle",
    "long": "x" * 300,
    "zero byte": "a\0b",
    "binary": "binary.yaml",
}
VALUES = PLACES | NUMBERS
# What an option can use, though others cannot.
USABLE = {
    "audit folder": set(),
    "evaluate --cache": {"missing", "long", "folder", "empty folder"},
    "evaluate --output": {"missing", "folder", "empty folder"},
    "exchange --output": {"missing", "folder", "empty folder"},
    "export --output": {"missing", "empty folder"},
    "listen --page": {"missing", "empty folder"},
    "listen --results": set(),
    "paper --output": set(),  # there is nothing to write about
    "continue --output": {"missing", "empty file", "junk", "folder", "empty folder", "binary", "broken link", "link in a circle"},
    "--progress": {"missing", "empty file", "junk", "binary", "broken link", "link in a circle"},
    "snippets --output": {"missing", "empty folder"},
    "snippets --shortest": {"huge"},
    "captions --column": VALUES.keys() - {"empty"},
    "--fade": {"huge"},
    "--temperature": {"huge"},
    "--configfile": {"empty file"},
}  # fmt: skip
USABLE["generate --output"] = USABLE["continue --output"]
USABLE["captions --page"] = USABLE["--progress"]
USABLE["tokens --output"] = USABLE["--progress"]


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return commands.choices


def name_of(action: argparse.Action) -> str:
    return action.option_strings[0] if action.option_strings else action.dest


CASES = [
    (case, name_of(action))
    for case in GIVEN
    for action in parsers()[case.split()[0]]._actions
    if action.nargs != 0 and (case, name_of(action)) not in OUTSIDE
]


def test_every_command_is_walked_through():
    assert {case.split()[0] for case in GIVEN} | ELSEWHERE.keys() == parsers().keys()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with trained experiments, their exports, music, and odd files."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for make, name, folder in ((make_notes, "notes", home), (make_sound, "mine", home / "s")):
            folder.mkdir(exist_ok=True)
            patch.chdir(folder)
            export(
                make(folder), name, None, home / ("notes.out" if name == "notes" else "sound.out")
            )
    onset = np.arange(24) * 240
    write_midi(plain_table(onset, np.full(24, 240), 60 + onset % 7), home / "music/a.mid")
    for folder in ("real", "made"):
        for number in range(4):
            tone = np.sin(np.arange(24000) * (number + len(folder)) / 40) / 2
            write_wav(home / folder / f"{number}.wav", tone.astype(np.float32), 24000)
    for number, name in enumerate(("one", "two")):
        place = home / f"heard/clips/{name}/seed-0/draw-0"
        write_wav(place / "clip-0000.wav", np.sin(np.arange(24000) / (20 + number)) / 2, 24000)
        write_csv(
            place / "clips.csv", ["clip", "file"], [{"clip": "clip-0000", "file": "clip-0000.wav"}]
        )
    write_json(home / "plan.json", PLAN)
    (home / "remi_z").mkdir()
    create_symbolic_tokenizer(RemiZ(kind="remi_z")).save(home / "remi_z")
    for name, data in (
        ("empty", b""),
        ("junk", b"no music: ["),
        ("binary.yaml", b"\xff\xfe\0\x80"),
    ):
        (home / name).write_bytes(data)
    for name in ("full", "bare"):
        (home / name).mkdir()
    (home / "full/file").write_text("mine")
    (home / "broken").symlink_to("not there")
    (home / "circle").symlink_to("circle")
    return home


def status(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as error:  # argparse's
        return error.code


def arguments(case: str, option: str, value: str) -> list[str]:
    """The command with one option as it is asked, without what excludes it."""
    command = case.split(maxsplit=1)[0]
    parser = parsers()[command]
    given = GIVEN[case] | {option: value}
    for group in parser._mutually_exclusive_groups:
        names = {name_of(action) for action in group._group_actions}
        if option in names:
            given = {key: word for key, word in given.items() if key == option or key not in names}
    found = [command]
    for key, word in given.items():
        found += [f"{key}={word}"] if key.startswith("--") else []
    return [*found, *(word for key, word in given.items() if not key.startswith("--"))]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "option"), CASES)
def test_a_mistake_is_a_message(case, option, template, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(template, tmp_path / "home", symlinks=True)
    monkeypatch.chdir(tmp_path / "home")
    command = case.split()[0]
    usable = USABLE.get(f"{command} {option}", USABLE.get(option, set()))
    wrong = {}
    for kind, value in VALUES.items():
        if kind in NUMBERS and "missing" in usable:
            continue  # a good name
        words = arguments(case, option, value)
        try:
            code = status(words)
        except Exception as error:  # noqa: BLE001 (that is what is looked for)
            wrong[kind] = f"{type(error).__name__}: {error}"
            continue
        said = capsys.readouterr()
        if code not in ((0, 1, 2) if kind in usable else (1, 2)):
            wrong[kind] = f"exit {code}: {said.out[-200:]}"
        elif code and not (said.out + said.err).strip():
            wrong[kind] = "no word"
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [c for c in GIVEN if c not in ("compare", "paper", "table of a run")]
)
def test_what_is_given_is_right(case, template, tmp_path, monkeypatch):
    """Else the walk would meet the wrong mistake."""
    shutil.copytree(template, tmp_path / "home", symlinks=True)
    monkeypatch.chdir(tmp_path / "home")
    (option, value), *_ = GIVEN[case].items()
    assert status(arguments(case, option, value)) == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("generate --from x --batch_size 3 --duration=2 --prime_wave a.wav --train_seed 1 --top_k 5",
         "generate --from x --clips 3 --seconds=2 --prime a.wav --train-seed 1 --top-k 5"),
        ("continue a.mid --from x --batch_size 3 --out b --prompt_tokens 9 --min_p 0.1",
         "continue a.mid --from x --clips 3 --output b --prompt-tokens 9 --min-p 0.1"),
        ("evaluate --baseline a --eval b --use_inf --batch_size 4",
         "evaluate --baseline a --eval b --use-inf --batch-size 4"),
        ("captions x --most_words 9", "captions x --most-words 9"),
    ],
)  # fmt: skip
def test_old_spellings_are_aliases(old, new):
    assert vars(_parse(old.split())) == vars(_parse(new.split()))


def test_values_keep_their_underscores():
    parsed = _parse(["generate", "--from", "a_b", "--text=x_y", "--set", "denoising.c_d=1"])
    assert (str(parsed.exported), parsed.text, parsed.set) == ("a_b", "x_y", ["denoising.c_d=1"])
    assert _parse(["audit", "--", "--a_b"]).folder.name == "--a_b"


def test_an_option_has_one_name_everywhere():
    """What means the same is called the same, and no name has an underscore."""
    names = {
        name: action.help
        for parser in parsers().values()
        for action in parser._actions
        for name in action.option_strings
    }
    assert not [name for name in names if "_" in name or name in ("--out", "--duration")]
    assert "--batch-size" in parsers()["evaluate"].format_help()
    assert "--batch-size" not in parsers()["generate"].format_help()
