"""The captions sheet: one page with a player and a field for each recording, which saves a CSV.

It opens from disk and asks nothing of a network. The sound is in it as MP3, so that it can be sent
to whoever knows the music; or, with `link`, it plays the files beside it.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soundfile
from tqdm import tqdm

from etude.audio.files import AudioError, AudioFile, read_audio
from etude.collection.duplicates import likenesses
from etude.collection.table import CaptionTable, as_rows
from etude.corpus.captions import MANY_WORDS
from etude.corpus.scan import printable
from etude.errors import UserError
from etude.storage import write_text

HERE = Path(__file__).parent
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000)  # of MP3, as far as a page needs them
MOST_BYTES = 200 * 2**20  # in a page; browsers become slow


def write_sheet(
    found: CaptionTable, folder: Path, page: Path, *, link: bool, most: int = MANY_WORDS
) -> int:
    """Write the page; how many recordings are like another one.

    Args:
        folder: of the recordings.
        link: name the files in place of taking their sound into the page.

    Raises:
        UserError: it would be too large to open.
    """
    alike, faults = likenesses(folder, found.files)
    columns, rows = as_rows(found)
    about = {
        "columns": columns,
        "rows": rows,
        "caption": columns.index(found.column),
        "file": columns.index(found.key),
        "sounds": list(_sounds(found, folder, page, link)),
        "alike": [
            [printable(one.other), round(one.score, 3)] if (one := alike.get(file)) else None
            for file in found.files
        ],
        "faults": [faults.get(file, "") for file in found.files],
        "most": most,
    }
    text = (HERE / "sheet.html").read_text(encoding="utf-8")
    script = (HERE / "sheet.js").read_text(encoding="utf-8")
    text = text.replace("SCRIPT", script.replace("PAGE_DATA", _inside(about), 1), 1)
    write_text(page, text)
    return len(alike)


def _inside(about: dict[str, Any]) -> str:
    """JSON that cannot end the script that it stands in, whatever a file is called."""
    return json.dumps(about, ensure_ascii=False).replace("<", "\\u003c")


def _sounds(found: CaptionTable, folder: Path, page: Path, link: bool) -> Iterator[str]:
    """The address of each recording's sound; empty where it cannot be read."""
    total = 0
    for file in tqdm(found.files, "sheet", unit="file"):
        if link:
            yield quote(os.path.relpath((folder / file).resolve(), page.resolve().parent))
            continue
        try:
            sound = _mp3(folder / file)
        except AudioError:
            yield ""
            continue
        total += len(sound)
        if total > MOST_BYTES:
            raise UserError(
                "the sheet would be too large for a browser",
                where=str(page),
                why=f"its sound has more than {MOST_BYTES // 2**20} MB",
                do="add --link: then it plays the files beside it",
            )
        yield "data:audio/mpeg;base64," + base64.b64encode(sound).decode()


def _mp3(path: Path) -> bytes:
    """The sound of a recording, mono, at the highest rate that it has and a page needs.

    Raises:
        AudioError: it cannot be read.
    """
    with AudioFile(path) as file:
        rate = max((rate for rate in RATES if rate <= file.rate), default=RATES[0])
    buffer = io.BytesIO()
    wave = np.clip(read_audio(path, rate), -1, 1)
    soundfile.write(buffer, wave, rate, format="MP3", subtype="MPEG_LAYER_III")
    return buffer.getvalue()
