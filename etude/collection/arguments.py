"""The commands `etude snippets`, `captions`, `exchange`; light, since every command reads them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from etude.arguments import above, at_least, place, text, whole

LENGTH = above(0, 3600)


def add_commands(commands: Any) -> None:
    """`etude snippets`, `etude captions` and `etude exchange`."""
    cut = commands.add_parser("snippets", help="raw recordings, cut, with a table to fill in")
    cut.add_argument("folder", type=place, help="of recordings")
    cut.add_argument("--output", type=place, required=True, help="the folder, new or empty")
    cut.add_argument("--seconds", type=LENGTH, help="all as long as this (else at silences)")
    cut.add_argument(
        "--below", type=above(0, 200), default=40.0, help="silence: dB under the loudest (40)"
    )
    cut.add_argument("--gap", type=above(0, 60), default=0.5, help="shortest silence, s (0.5)")
    cut.add_argument("--shortest", type=at_least(0), default=1.0, help="of a snippet, s (1)")
    cut.add_argument("--longest", type=LENGTH, default=30.0, help="of a snippet, s (30)")
    cut.add_argument(
        "--ownership", type=place, help="whose recordings they are; goes on to snippets"
    )
    cut.set_defaults(run=_snippets)

    sheet = commands.add_parser("captions", help="a page to caption recordings on; a check of them")
    sheet.add_argument("folder", type=place, nargs="?", help="of recordings (that of the table)")
    sheet.add_argument("--table", type=place, help="captions so far (captions.csv in the folder)")
    sheet.add_argument("--check", type=place, metavar="TABLE", help="only say what is wrong")
    sheet.add_argument("--column", type=text, default="caption", help="of the table (caption)")
    sheet.add_argument("--page", type=place, help="the page (captions.html in the folder)")
    sheet.add_argument(
        "--link", action="store_true", help="play the files beside the page, not sound in it"
    )
    sheet.add_argument(
        "--most-words", type=whole(1, 10_000), default=100, help="longer ones are told (100)"
    )
    sheet.set_defaults(run=_captions)

    other = commands.add_parser("exchange", help="tables and latents as other programs have them")
    other.add_argument("folder", type=place, help="of recordings, or of latents")
    what = other.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--read",
        type=place,
        nargs="+",
        help="metadata_*.json (TI-MusicGen) or dataset.json (stable-audio-tools): written as "
        "metadata.csv beside the recordings; or PhraseLDM's latents (train_data.pt): written as "
        "safetensors into the folder",
    )
    what.add_argument(
        "--form",
        choices=("concepts", "tools", "latents"),
        help="TI-MusicGen, stable-audio-tools, or PhraseLDM's latents (of results/latents/)",
    )
    other.add_argument("--output", type=place, help="folder for --form (the same)")
    other.set_defaults(run=_exchange)


def _snippets(options: argparse.Namespace) -> None:
    from etude.collection.cutting import Cutting, cut_folder

    how = Cutting(options.seconds, options.below, options.gap, options.shortest, options.longest)
    made, left = cut_folder(options.folder, options.output, how, options.ownership)
    print(f"{made} snippets in {options.output}; {left} stretches left out (left_out.csv says why)")
    print(f"write captions: python -m etude captions {options.output}")


def _captions(options: argparse.Namespace) -> int:
    import csv

    from etude.collection.table import PROBLEMS, problems, read_captions
    from etude.errors import UserError
    from etude.storage import check_place

    table = options.check or options.table
    folder = options.folder or (table.parent if table is not None else None)
    if folder is None:
        raise UserError(
            "no folder is named", code="nothing-named", do="python -m etude captions FOLDER"
        )
    if table is not None and not table.is_file():
        raise UserError(
            "the table of captions is not there", code="file-not-found", where=str(table)
        )
    page: Path = options.page or folder / "captions.html"
    check_place(page)
    found = read_captions(folder, table or folder / "captions.csv", options.column)
    if not found.files:
        raise UserError(
            "there is nothing to caption",
            code="no-recordings",
            where=str(folder),
            why="it has no recordings",
        )
    wrong = list(problems(found, options.most_words))
    if options.check:
        if wrong:
            writer = csv.DictWriter(sys.stdout, PROBLEMS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(wrong)
        print(f"{len(wrong)} of {len(found.files)} need a look", file=sys.stderr)
        return 1 if wrong else 0
    from etude.collection.sheet import write_sheet

    alike = write_sheet(found, folder, page, link=options.link, most=options.most_words)
    print(
        f"{page}: {len(found.files)} recordings, {alike} like another one, {len(wrong)} to look at"
    )
    return 0


def _exchange(options: argparse.Namespace) -> None:
    from etude.collection.exchange import read_tables, write_form, write_metadata
    from etude.storage import check_place

    target: Path = options.output or options.folder
    check_place(target / "file")
    if options.form == "latents" or any(file.suffix == ".pt" for file in options.read or ()):
        from etude.diffusion.latent_files import read_theirs, write_theirs

        if options.read:
            print(f"{target}: {read_theirs(options.read, target)} songs")
            return
        print(*(target / name for name in write_theirs(options.folder, target)), sep="\n")
        return
    if options.read:
        rows = read_tables(options.read, options.folder)
        print(f"{write_metadata(rows, options.folder)}: {len(rows)} recordings")
        return
    for name in write_form(options.folder, options.form, target):
        print(target / name)
