"""`python -m etude listen --page`: blind pairs as a folder that opens from disk, without a server.

index.html        the page: one file, its script and style in it
<pair>-a.wav, -b.wav
etude.yaml        in place of the page: the same pairs for webMUSHRA (--form webmushra)

What the pairs are is not in the folder: results/listening/pages/<page>.csv has it, where
`etude table --ratings` finds it when the answers come back.
"""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path
from random import Random
from typing import Any

import yaml

from etude import config
from etude.errors import UserError
from etude.results.listening import KEYS
from etude.results.preference import COLUMNS
from etude.storage import atomic_directory, check_place, write_csv, write_text
from etude.studio.app import STATIC
from etude.studio.pairs import ClipPair, Test, write_pair

HERE = Path(__file__).parent
WELCOME = "You hear two clips at a time. Which is the better music?"
WEBMUSHRA = "etude.yaml"  # webMUSHRA's configuration, in place of the page
HEAR_SECONDS = 3.0  # of both sides, before an answer counts


def listen(options: argparse.Namespace) -> None:
    """Write the folder.

    Raises:
        UserError: there is nothing to compare, or the folder holds something.
    """
    folder: Path = options.page.absolute()
    check_place(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            "the folder for the page is not empty",
            code="folder-not-empty",
            where=str(folder),
            do="name another one",
        )
    limits = config.read(config.DEFAULT, *options.configfile).studio
    test = Test.of_run(options.results)
    count = options.pairs or limits.pairs
    pairs = drawn(test, count, limits.catch_pairs, options.seed)
    name = secrets.token_urlsafe(9)
    rows: list[dict[str, Any]] = []
    described: list[dict[str, Any]] = []
    with atomic_directory(folder) as temporary:
        for number, pair in enumerate(pairs):
            key = f"{number:03d}"
            sides = (temporary / f"{key}-{side}.wav" for side in "ab")
            described.append({"pair": key, "hear": min(HEAR_SECONDS, write_pair(pair, *sides))})
            rows.append(_row(key, pair))
        if options.form == "webmushra":
            write_text(temporary / WEBMUSHRA, webmushra(name, [row["pair"] for row in described]))
        else:
            write_text(temporary / "index.html", _page({"id": name, "pairs": described}))
        write_csv(options.results / KEYS / f"{name}.csv", COLUMNS, rows)
    print(folder / (WEBMUSHRA if options.form == "webmushra" else "index.html"))


def webmushra(name: str, pairs: list[str]) -> str:
    """The configuration of a listening test in webMUSHRA: a page for each pair.

    The folder goes below webMUSHRA's configs/, as configs/etude/.
    """
    first = {"type": "generic", "id": "welcome", "name": "Welcome", "content": WELCOME}
    pages = [
        {
            "type": "paired_comparison",
            "id": f"pair_{pair}",
            "name": f"Pair {int(pair) + 1}",
            "unforced": "no preference",
            "content": "Which is the better music?",
            "showWaveform": False,
            "enableLooping": True,
            "reference": f"configs/etude/{pair}-a.wav",
            "stimuli": {"b": f"configs/etude/{pair}-b.wav"},
        }
        for pair in pairs
    ]
    last = {"type": "finish", "name": "Thank you", "content": "Your answers have been sent."}
    end = last | {"showResults": False, "writeResults": True}
    test = {
        "testname": "Étude",
        "testId": name,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": [first, *pages, end],
    }
    return yaml.safe_dump(test, sort_keys=False, allow_unicode=True)


def _page(about: dict[str, Any]) -> str:
    """The page, with its script and style in it: from disk a page may load no module."""
    parts = {
        "STYLE": (STATIC / "studio.css").read_text(encoding="utf-8"),
        "SCRIPT": (STATIC / "listening.js").read_text(encoding="utf-8").replace("export ", "")
        + (HERE / "jury.js").read_text(encoding="utf-8").replace("PAGE_DATA", json.dumps(about)),
    }
    text = (HERE / "jury.html").read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(name, part, 1)
    return text


def drawn(test: Test, count: int, catches: int, seed: int) -> list[ClipPair]:
    """Pairs in a random order."""
    random = Random(seed)  # noqa: S311 (which pairs there are is no secret)
    asked: list[tuple[str, str]] = []
    pairs: list[ClipPair] = []
    for _ in range(count):
        pairs.append(pair := test.draw(asked, random))
        asked.append((pair.a.key, pair.b.key))
    pairs += [test.catch(random) for _ in range(catches)]
    random.shuffle(pairs)
    return pairs


def _row(key: str, pair: ClipPair) -> dict[str, Any]:
    return {
        "pair": key,
        "a": pair.a.system,
        "clip_a": pair.a.clip,
        "b": pair.b.system,
        "clip_b": pair.b.clip,
        "condition": pair.a.condition,
        "catch": int(pair.catch),
    }
