"""Two commits, the same results? Both run on this machine, one after the other, and are compared.

    python benchmarks/same_results.py OLD NEW --at FOLDER --cores 2 --cases smoke,folder

Each commit is cloned to FOLDER/<commit>/checkout and each case runs in FOLDER/<commit>/<case>; what
is finished there is not made again. Weights, tokens, clips, tables of metrics and fad.txt must have
the same bytes, but for the hashes of code, environment and settings. What else may differ stands in
PERMITTED, each with its reason; what has moved, in MAP. The exit status is 1 where something
differs.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from random import Random

import yaml

ROOT = Path(__file__).resolve().parents[1]
SMOKE = "config/presets/smoke.yaml"

# Not results: what tells how a run went, when and how fast, and states to go on from.
NOT_COMPARED = ("logs/*", "benchmarks/*", "state/*", "tensorboard/*", "*/timings.csv")
# The one thing that must differ between two commits: a table's columns that say what made it.
HASH = re.compile(r"(code|env|config)_hash(_[ab])?")
NEW = "only in the new"
MAP: list[tuple[str, str]] = []  # (pattern, replacement) of old paths below results/, by re.sub


@dataclass(frozen=True)
class Permitted:
    """A difference that is meant.

    Attributes:
        pattern: of paths below results/ as the new commit names them (fnmatch).
        reason: why it may differ.
        but: what may differ, as a regular expression: the rest of the text must still be the same.
            None: anything in the file, and whether it is there.
        new: only that the file was not there before; where it was, its bytes count.
    """

    pattern: str
    reason: str
    but: str | None = None
    new: bool = False


PERMITTED = [
    Permitted(
        "packed/*/state.json",
        "the package datasets names its own state by a hash of how it was made",
        r'"_fingerprint": "\w+"',
    ),
    Permitted(
        "clips/*/seed-*/draw-*/weights.json",
        "hashes of what made the clips are written for notes too: a new file",
        new=True,
    ),
    Permitted("report/index.html", "the page has run times, and the hash of the code"),
]


# ---------------------------------------------------------------------------------- the comparison


@dataclass(frozen=True)
class Verdict:
    """What became of one path: equal, permitted or differing; why."""

    path: str
    kind: str
    why: str = ""


def compare(old: Path, new: Path) -> list[Verdict]:
    """Compare two folders of results, file by file."""
    before = {moved(path): old / path for path in compared(old)}
    after = {path: new / path for path in compared(new)}
    hashes = hashes_in(old), hashes_in(new)
    found = []
    for path in sorted(before.keys() | after.keys()):
        if path in before and path in after:
            found.append(verdict(path, before[path], after[path], hashes))
        else:
            there = "only in the old" if path in before else NEW
            found.append(excused(path, there) or Verdict(path, "differing", there))
    return found


def compared(results: Path) -> Iterator[str]:
    """Paths of the results that count, in order; none that begins with a dot."""
    for file in sorted(results.rglob("*")):
        path = file.relative_to(results)
        hidden = any(part.startswith(".") for part in path.parts)
        passed_over = any(fnmatch(path.as_posix(), pattern) for pattern in NOT_COMPARED)
        if file.is_file() and not hidden and not passed_over:
            yield path.as_posix()


def moved(path: str) -> str:
    """Where a path of the old commit lies in the new one."""
    for pattern, replacement in MAP:
        path = re.sub(pattern, replacement, path)
    return path


def hashes_in(results: Path) -> set[str]:
    """The hashes of code, environment and settings that a run's tables name."""
    found: set[str] = set()
    for path in results.rglob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            columns = [name for name in rows.fieldnames or () if HASH.fullmatch(name)]
            if columns:  # a table is read to its end only where it has such columns
                for row in rows:
                    for name in columns:
                        found.update(re.findall(r"[0-9a-f]{8,}", row[name] or ""))
    return found


def verdict(path: str, old: Path, new: Path, hashes: tuple[set[str], set[str]]) -> Verdict:
    """Compare two files: by their bytes, then without the hashes, then without what may differ."""
    one, two = old.read_bytes(), new.read_bytes()
    if one == two:
        return Verdict(path, "equal")
    try:
        texts = [
            without(raw.decode(), known) for raw, known in zip((one, two), hashes, strict=True)
        ]
    except UnicodeDecodeError:
        what = f"{len(one)} and {len(two)} bytes"
        return excused(path, what) or Verdict(path, "differing", what)
    if texts[0] == texts[1]:
        return Verdict(path, "permitted", "hashes of code, environment and settings")
    what = first_difference(*texts)
    return excused(path, what, *texts) or Verdict(path, "differing", what)


def without(text: str, hashes: set[str]) -> str:
    """A text in which each known hash is a mark; in a table, each cell of those columns."""
    if hashes:
        known = "|".join(sorted(map(re.escape, hashes)))
        text = re.sub(rf"\b({known})\b", "<hash>", text)
    head = text.partition("\n")[0].split(",")
    if not any(HASH.fullmatch(name) for name in head):
        return text
    # A row may join several hashes, or have none where the other commit has one.
    rows = list(csv.reader(io.StringIO(text)))
    masked = [i for i, name in enumerate(head) if HASH.fullmatch(name)]
    for row in rows[1:]:
        for i in masked:
            row[i] = "<hash>"
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def first_difference(one: str, two: str) -> str:
    """The first line that differs, of both, in short."""
    lines = one.splitlines(), two.splitlines()
    for number, pair in enumerate(zip(*lines, strict=False), start=1):
        if pair[0] != pair[1]:
            at = next(
                (i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b),
                min(map(len, pair)),
            )
            short = [line[max(0, at - 30) : at + 30] for line in pair]
            return f"line {number}: {short[0]!r} is {short[1]!r}"
    return f"{len(lines[0])} and {len(lines[1])} lines"


def excused(path: str, what: str, *texts: str) -> Verdict | None:
    """A difference that PERMITTED allows, with the reason."""
    for entry in PERMITTED:
        if not fnmatch(path, entry.pattern) or (entry.new and what != NEW):
            continue
        if entry.but is None:
            return Verdict(path, "permitted", entry.reason)
        rest = {re.sub(entry.but, "", text) for text in texts}
        if texts and len(rest) == 1:
            return Verdict(path, "permitted", entry.reason)
    return None


def told(case: str, verdicts: list[Verdict]) -> list[str]:
    """The comparison of a case as lines of a Markdown table, reasons and differences below."""
    kinds = Counter(v.kind for v in verdicts)
    cells = " | ".join(str(kinds[kind]) for kind in ("equal", "permitted", "differing"))
    lines = [
        "| case | equal | permitted | differing |",
        "|---|---|---|---|",
        f"| {case} | {cells} |",
    ]
    reasons = Counter(v.why for v in verdicts if v.kind == "permitted")
    lines += ["", *(f"- permitted, {number} files: {why}" for why, number in reasons.items())]
    wrong = [v for v in verdicts if v.kind == "differing"]
    lines += [f"- differing: {v.path}: {v.why}" for v in wrong[:50]]
    if len(wrong) > 50:
        lines.append(f"- and {len(wrong) - 50} more")
    return lines


# ------------------------------------------------------------------------------------------- cases


def audiolm(corpus: str, **more: object) -> dict[str, object]:
    return {"system": "audiolm", "corpus": corpus, **more}


def symbolic(corpus: str, tokens: str = "remi", **generate: object) -> dict[str, object]:
    return {"system": "symbolic_lm", "corpus": corpus, "tokens": tokens, "generate": generate}


def folder_case(given: Path) -> dict[str, object]:
    """A folder of MIDI and WAV; AudioLM and a symbolic model of it."""
    import music

    music.make_chorales(given / "music", 14, seed=3)
    for number in range(6):
        music.recording(given / "music" / f"take-{number}.wav", Random(f"take/{number}"))
    mixed = {"source": "folder", "path": str(given / "music"), "shards": 2}
    experiments = {"sound": audiolm("mixed"), "notes": symbolic("mixed")}
    return {"corpora": {"mixed": mixed}, "experiments": experiments, "run": ["sound", "notes"]}


def external_case(given: Path) -> dict[str, object]:
    """Clips that somebody else made: recordings of three kinds and one that cannot be read."""
    import music

    for number in range(5):
        suffix = ("wav", "flac")[number % 2]
        music.recording(given / "clips" / f"theirs-{number}.{suffix}", Random(f"clip/{number}"))
    (given / "clips" / "broken.wav").write_bytes(b"RIFF, and no more")
    theirs = {"system": "external", "corpus": "chorales", "clips": str(given / "clips")}
    return {"experiments": {"theirs": theirs}, "run": ["theirs"]}


def prompts_case(given: Path) -> dict[str, object]:
    """Clips that go on: from a recording, from held-out pieces, from a MIDI file."""
    import music

    wave = music.recording(given / "prime.wav", Random("prime"))
    notes = music.chorale(given / "prime.mid", Random("prime"))
    experiments = {
        "on_sound": audiolm("chorales", generate={"prime": str(wave), "clips": 4}),
        "on_pieces": symbolic("chorales", "tsd", prompt="held_out"),
        "on_notes": symbolic("chorales", "onoff", prime=str(notes)),
    }
    kinds, rows = ("tsd", "onoff"), {"window": 256, "stride": 128, "shortest": 192}
    return {
        "tokenizers": {kind: {"kind": kind} for kind in kinds},
        "tokens": {kind: {"tokenizer": kind} | rows for kind in kinds},
        "experiments": experiments,
        "run": list(experiments),
    }


# Each makes its music in a folder and gives the configuration over the smoke preset. `demo` is the
# default configuration alone, `smoke` the preset over it.
CASES: dict[str, Callable[[Path], dict[str, object]] | None] = {
    "demo": None,
    "smoke": None,
    "folder": folder_case,
    "external": external_case,
    "prompts": prompts_case,
}


def configs(at: Path, case: str) -> list[str]:
    """The --configfile words of a case; its music is made once, for all commits.

    Both commits read the same folder, so that no path can make a difference.
    """
    if case == "demo":
        return []
    words = ["--configfile", f"../checkout/{SMOKE}"]
    make = CASES[case]
    if make is None:
        return words
    given = (at / "given" / case).resolve()
    file = given / "config.yaml"
    if not file.is_file():  # written last
        given.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(make(given), sort_keys=True)
        file.write_text(text, encoding="utf-8")
    return [*words, str(file)]


# -------------------------------------------------------------------------------------------- runs


def name_of(commit: str) -> str:
    """A commit's short name: seven digits."""
    words = ["git", "-C", str(ROOT), "rev-parse", f"{commit}^{{commit}}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{commit!r} is no commit of {ROOT}")
    return done.stdout.strip()[:7]


def check_out(commit: str, at: Path) -> None:
    """A clone of its own; one that is there is taken, if it is that commit without changes."""
    checkout = at / commit / "checkout"
    git = ["git", "-C", str(checkout)]
    if not checkout.is_dir():
        checkout.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
        subprocess.run([*git, "checkout", "--quiet", "--detach", commit], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    state = [*git, "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(state, capture_output=True, text=True, check=True).stdout
    if not head.stdout.startswith(commit) or changed:
        sys.exit(f"{checkout} is not {commit} as it was committed; remove it")


def run_case(commit: str, case: str, at: Path, cores: int) -> None:
    """Run a case of a commit to its end; what it says goes to <case>.log beside its folder."""
    folder = at / commit / case
    folder.mkdir(parents=True, exist_ok=True)
    # Sums in networks depend on the number of threads: a folder keeps to its number of cores.
    kept = folder / ".cores"
    if kept.is_file() and kept.read_text() != str(cores):
        sys.exit(f"{folder} was begun with --cores {kept.read_text()}: use that, or remove it")
    kept.write_text(str(cores))
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", "../checkout/Snakefile",
        "--directory", ".", "--workflow-profile", "../checkout/profiles/default",
        "--cores", str(cores), *configs(at, case),
    ]  # fmt: skip
    print(f"{commit} {case} ...", flush=True)
    way = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (at / commit / f"{case}.log").open("a", encoding="utf-8") as log:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"PATH": way}, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        sys.exit(f"{commit} {case} failed: {log.name}")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", help="none: only run the old one")
    parser.add_argument(
        "--at", type=Path, default=Path(tempfile.gettempdir(), "etude-same"), metavar="FOLDER"
    )
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--only-compare", action="store_true", help="run nothing")
    asked = parser.parse_args(words)
    cases = asked.cases.split(",")
    if unknown := set(cases) - CASES.keys():
        parser.error(f"no case {', '.join(sorted(unknown))}; there are: {', '.join(CASES)}")
    sys.path.insert(0, str(ROOT / "tests"))  # what makes the music
    commits = [name_of(commit) for commit in (asked.old, asked.new) if commit]
    wrong = False
    for case in cases:
        for commit in commits * (not asked.only_compare):
            check_out(commit, asked.at)
            run_case(commit, case, asked.at, asked.cores)
        if len(commits) == 2:
            old, new = (asked.at / commit / case / "results" for commit in commits)
            verdicts = compare(old, new)
            print("\n".join(["", *told(case, verdicts), ""]), flush=True)
            wrong |= not verdicts or any(v.kind == "differing" for v in verdicts)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
