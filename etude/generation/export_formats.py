"""`python -m etude export --form …`: a trained experiment as other programs read it.

It is an export like any other: with the consent of all owners, on record, and with README.md and
export.json (whose pieces it knows, sha256 of its files), by which a withdrawal finds it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from etude.config import Config
from etude.errors import UserError
from etude.generation.export import publishing, refuse_what_is_there
from etude.generation.manifest import ABOUT, FORMAT
from etude.generation.registry import register
from etude.generation.trained import in_results
from etude.storage import atomic_directory, check_place, hash_file, write_json, write_text
from etude.systems import open_system

log = logging.getLogger(__name__)


def unwrap(settings: Config, name: str, seed: int | None, form: str, folder: Path) -> None:
    """Write the folder of an experiment in a form of its system's, whole or not at all.

    Args:
        seed: of training; None: the first that config names.

    Raises:
        UserError: the experiment is unknown or not trained, it has no such form, the folder holds
            something, or a piece that the model knows may not be published.
    """
    folder = folder.absolute()
    check_place(folder)
    refuse_what_is_there(folder)
    trained = in_results(settings, name, seed)
    owners = publishing(settings, trained)
    trained.require()
    system = open_system(trained.experiment.system)
    if form not in system.forms:
        raise UserError(
            f"there is no form {form!r} of this experiment",
            where=f"--form {form}",
            why=f"of {system.title} there are: {', '.join(system.forms) or 'none'}",
            do="leave --form out: that is Étude's own form",
        )
    with atomic_directory(folder) as temporary:
        system.write_form(trained.experiment, trained.parts, form, temporary)
        kept = [path for path in temporary.rglob("*") if path.is_file()]
        hashes = {path.relative_to(temporary).as_posix(): hash_file(path) for path in kept}
        about = {"format": FORMAT, "form": form, "experiment": name, "train_seed": trained.seed}
        write_json(temporary / ABOUT, about | {"sha256": hashes} | owners.known)
        cards = [(f / "card.md").read_text(encoding="utf-8") for f in trained.parts.models.values()]
        write_text(temporary / "README.md", "\n".join([f"# {name}", owners.text, *cards]))
    register(settings, name, trained.seed, folder)
    log.info("%s, training seed %d, as %s", name, trained.seed, form)
