"""Tables of recordings as other programs keep them, read and written.

metadata_train.json, _val.json    TI-MusicGen's, a JSON object a line: audio_path, encoded_path,
                                  concept, track_id
metadata_concepts.json            its descriptions: concept -> text
dataset.json, custom_metadata.py  stable-audio-tools': folders, and the rule that gives a prompt

What is read becomes metadata.csv (path, caption, split), which every corpus reads. No Python of
others is run: where a dataset.json names a rule, captions are taken from the files' names, which is
what audio-tune's rule does, and that is said.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etude.corpus.captions import concept_of, from_file_name
from etude.corpus.scan import list_files, music_kind
from etude.corpus.tables import match_names
from etude.errors import UserError
from etude.storage import read_csv, write_csv, write_json, write_text

log = logging.getLogger(__name__)

COLUMNS = ["path", "caption", "split"]
FORMS = ("concepts", "tools")
SIDES = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
RULE = '''"""The prompt of each recording; written by `python -m etude exchange`."""

import json
from pathlib import Path

PROMPTS = json.loads(Path(__file__).with_name("prompts.json").read_text(encoding="utf-8"))


def get_custom_metadata(info, audio):
    prompt = PROMPTS.get(info["relpath"])
    return {"prompt": prompt} if prompt else {"__reject__": True}
'''
Rows = list[dict[str, str]]


def read_tables(files: Iterable[Path], folder: Path) -> Rows:
    """Rows of metadata.csv from tables of another program.

    Args:
        folder: of the recordings; rows of others are left out and counted.

    Raises:
        UserError: a table cannot be read, is of no known form, or names none of the recordings.
    """
    known = [name for name in list_files(folder) if music_kind(name) == "audio"]
    descriptions: dict[str, str] = {}
    found: dict[str, dict[str, str]] = {}
    for file in files:
        content = _read(file)
        if isinstance(content, dict) and "datasets" in content:
            found |= {row["path"]: row for row in _of_tools(content, known)}
        elif isinstance(content, dict) and "audio_path" not in content:
            descriptions |= {str(k): str(v) for k, v in content.items()}
        else:
            found |= {row["path"]: row for row in _of_inversion(content, known, file)}
    rows = [found[path] for path in sorted(found)]
    for row in rows:
        row["caption"] = descriptions.get(row["caption"], row["caption"])
    if not rows:
        raise UserError(
            "the tables name none of the recordings",
            where=str(folder),
            why=f"{len(known)} recordings are there",
            do="name the folder that holds them",
        )
    return rows


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        try:
            return json.loads(text)
        except ValueError:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise UserError(
            "a table cannot be read",
            where=str(file),
            why=str(error).splitlines()[0],
            do="name a metadata_*.json of TI-MusicGen's, or a dataset.json of stable-audio-tools'",
        ) from None


def _of_inversion(content: Any, known: list[str], file: Path) -> Rows:
    rows = content if isinstance(content, list) else [content]
    if not all(isinstance(row, dict) and "audio_path" in row for row in rows):
        raise UserError(
            "this table is of no known form",
            where=str(file),
            why="its rows have no audio_path, and it is no list of datasets",
            do="name a metadata_*.json of TI-MusicGen's, or a dataset.json of stable-audio-tools'",
        )
    side = next((SIDES[word] for word in SIDES if file.stem.endswith(f"_{word}")), "")
    names = {str(row["audio_path"]).replace("\\", "/"): row for row in rows}
    # Their paths may begin anywhere: what counts is the end that a recording has too.
    there = set(known)
    chosen: dict[str, dict[str, str]] = {}
    for name, row in names.items():
        parts = name.split("/")
        ends = ("/".join(parts[i:]) for i in range(len(parts)))
        match = next((end for end in ends if end in there), None)
        match = match or next(iter(match_names([parts[-1]], known)[0]), None)
        if match is not None:
            chosen[match] = {
                "path": match,
                "caption": str(row.get("concept", "")).replace("_", " "),
                "split": side,
            }
    if len(chosen) < len(names):
        log.warning("%s: %d rows name no recording", file, len(names) - len(chosen))
    return list(chosen.values())


def _of_tools(content: dict[str, Any], known: list[str]) -> Rows:
    if any(isinstance(d, dict) and d.get("custom_metadata_module") for d in content["datasets"]):
        log.warning("the rule that it names is not run: captions are those of the files' names")
    return [{"path": name, "caption": from_file_name(name), "split": ""} for name in known]


def write_form(folder: Path, form: str, target: Path) -> list[str]:
    """Write the tables of a folder of recordings as another program reads them; their names.

    Captions are those of metadata.csv or captions.csv in the folder, else the files' names.

    Raises:
        UserError: there are no recordings.
    """
    names = [name for name in list_files(folder) if music_kind(name) == "audio"]
    if not names:
        raise UserError("no recording is there", where=str(folder), do="name a folder of audio")
    facts = _known_facts(folder)
    captions = {name: facts.get(name, {}).get("caption") or from_file_name(name) for name in names}
    if form == "tools":
        entry = {
            "id": folder.resolve().name,
            "path": str(folder.resolve()),
            "custom_metadata_module": str((target / "custom_metadata.py").resolve()),
        }
        write_json(
            target / "dataset.json",
            {"dataset_type": "audio_dir", "datasets": [entry], "random_crop": False},
        )
        write_json(target / "prompts.json", captions)
        write_text(target / "custom_metadata.py", RULE)
        return ["custom_metadata.py", "dataset.json", "prompts.json"]
    sides: dict[str, list[str]] = {"train": [], "val": []}
    concepts: dict[str, str] = {}
    for name in names:
        concept = concept_of(name) or folder.resolve().name
        concepts.setdefault(
            concept, facts.get(name, {}).get("caption") or concept.replace("_", " ")
        )
        side = "train" if facts.get(name, {}).get("split", "train") in ("", "train") else "val"
        row = {
            "audio_path": str((folder / name).resolve()),
            "encoded_path": "",
            "concept": concept,
            "track_id": name.rpartition(".")[0],
        }
        sides[side].append(json.dumps(row, ensure_ascii=False))
    for side, lines in sides.items():
        write_text(target / f"metadata_{side}.json", "".join(f"{line}\n" for line in lines))
    write_json(target / "metadata_concepts.json", concepts)
    return ["metadata_concepts.json", "metadata_train.json", "metadata_val.json"]


def _known_facts(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of the folder's own table by path."""
    for name, key in (("metadata.csv", "path"), ("captions.csv", "file")):
        if (folder / name).is_file():
            return {row[key]: row for row in read_csv(folder / name) if row.get(key)}
    return {}


def write_metadata(rows: Rows, folder: Path) -> Path:
    """Write metadata.csv beside the recordings; one that is there is never replaced.

    Raises:
        UserError: there is one.
    """
    path = folder / "metadata.csv"
    if path.exists():
        raise UserError(
            "the recordings have a metadata.csv already",
            where=str(path),
            do="move it away first, or copy from the other table what you want",
        )
    write_csv(path, COLUMNS, rows)
    return path
