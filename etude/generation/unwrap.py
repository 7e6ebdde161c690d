"""`python -m etude export --form …`: a trained experiment as other programs read it."""

from __future__ import annotations

import logging
from pathlib import Path

from etude.config import Config
from etude.errors import UserError
from etude.generation.export import refuse_what_is_there
from etude.generation.trained import in_results
from etude.storage import atomic_directory, check_place
from etude.systems import open_system

log = logging.getLogger(__name__)


def unwrap(settings: Config, name: str, seed: int | None, form: str, folder: Path) -> None:
    """Write the folder of an experiment in a form of its system's, whole or not at all.

    Args:
        seed: of training; None: the first that config names.

    Raises:
        UserError: the experiment is unknown or not trained, it has no such form, or the folder
            holds something.
    """
    folder = folder.absolute()
    check_place(folder)
    refuse_what_is_there(folder)
    trained = in_results(settings, name, seed)
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
    log.info("%s, training seed %d, as %s", name, trained.seed, form)
