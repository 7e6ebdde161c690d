"""Weights from a hub, a folder, a file or an address, brought into one form.

What lies in results/pretrained/{name}/ afterwards: config.json and model.safetensors as
`save_pretrained` of transformers' class writes them (for CLAP with the feature extractor's
preprocessor_config.json), or centres.safetensors for a k-means, or the parts of a text-to-sound
model (etude/pretrained/sound.py), or a stage's file as it is (checkpoint.pt); and origin.json,
which says whose they are. Everything downstream reads that folder and no network.
"""

from __future__ import annotations

import logging
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from etude.config import Pretrained
from etude.errors import UserError
from etude.pretrained import sound
from etude.pretrained.joblib_file import read_centres
from etude.pretrained.networks import WEIGHTS, network_class, save_network
from etude.pretrained.origin import CHECKPOINT
from etude.storage import atomic_directory, hash_file, write_json

VERSION = 1  # raised when the folder changes

log = logging.getLogger(__name__)
ORIGIN, CENTRES = "origin.json", "centres.safetensors"
INDEX = "model.safetensors.index.json"  # of weights in several files
# Nothing that could run code, none of the same weights in another form.
PATTERNS = [
    *("config.json", "preprocessor_config.json", "tokenizer.json", "generation_config.json"),
    *("model.safetensors", "model-*.safetensors", INDEX, "pytorch_model.bin"),
]
PIPELINE = [  # diffusers' folders of parts
    *(sound.INDEX, "*/config.json", "*/*.safetensors", "*/*.safetensors.index.json"),
    "tokenizer/*.json",
]
BROKEN = (
    *(OSError, ValueError, RuntimeError, KeyError, TypeError, EOFError),
    *(SafetensorError, pickle.UnpicklingError),
)
BESIDE = ("preprocessor_config.json", "tokenizer.json")  # copied where they are there


def fetch_weights(name: str, settings: Pretrained, folder: Path) -> None:
    """Fill results/pretrained/{name}/; it appears when it is whole.

    Raises:
        UserError: the weights cannot be downloaded (and whether a login, a licence, a name or the
            connection is at fault), are not those of the given hash, or are of another kind.
    """
    with open_source(name, settings) as given, atomic_directory(folder) as temporary:
        if settings.kind == "kmeans":
            digest = hash_file(given)
            _write_centres(given, settings, temporary)
            weights = temporary / CENTRES
        elif settings.kind == "checkpoint":
            weights = _copy_checkpoint(given, settings, temporary)
            digest = hash_file(weights)
        else:
            digest = _write_network(given, settings, temporary)
            weights = temporary / WEIGHTS
        about = {
            "kind": settings.kind,
            "from": settings.hub or settings.url or given.name,
            "revision": settings.revision or "",
            "given_sha256": digest,
            "sha256": hash_file(weights),
        }
        write_json(temporary / ORIGIN, about)
    log.info("%s: %s, sha256 %s", name, about["from"], about["sha256"][:16])


@contextmanager
def open_source(name: str, settings: Pretrained) -> Iterator[Path]:
    """The folder or file that the configuration names, on this machine."""
    if settings.path is not None:
        if not settings.path.exists():
            raise UserError(
                f"the weights {name!r} are not there",
                where=str(settings.path.absolute()),
                do=f"check `pretrained.{name}.path`",
            )
        yield settings.path
        return
    with tempfile.TemporaryDirectory(prefix="etude-weights-") as scratch:
        if settings.hub is not None:
            yield _from_hub(name, settings, Path(scratch))
        else:
            from etude.corpus.download import download

            assert settings.url is not None
            target = Path(scratch, Path(settings.url).name)
            download(settings.url, target, insecure=True)  # its hash is known
            yield target


def _from_hub(name: str, settings: Pretrained, scratch: Path) -> Path:
    """A snapshot of a hub's repository; offline, what the hub's own cache has of it.

    Raises:
        UserError: telling a missing login from a licence that was not accepted, a name that is
            not there, and a network that is not.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    assert settings.hub is not None
    patterns = PIPELINE if settings.kind == sound.SoundConfig.model_type else PATTERNS
    patterns = [settings.file] if settings.file else patterns
    try:
        found = snapshot_download(
            settings.hub, revision=settings.revision, allow_patterns=patterns, cache_dir=None
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise hub_error(name, settings.hub, error) from None
    folder = Path(found)
    if settings.file is not None:
        return folder
    if any((folder / n).is_file() for n in (WEIGHTS, INDEX, "pytorch_model.bin", sound.INDEX)):
        return folder
    raise UserError(
        f"the hub's {settings.hub!r} has no weights that Étude reads",
        where=f"pretrained.{name}.hub",
        why=f"none of {WEIGHTS} and pytorch_model.bin is in it",
        do="name another repository, or convert it and give its `path`",
    )


def hub_error(name: str, hub: str, error: Exception) -> UserError:
    """What a hub's refusal means, in a user's words."""
    from huggingface_hub import errors

    where = f"pretrained.{name}.hub: {hub}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return UserError(
            "the licence of these weights has not been accepted",
            where=where,
            why="the repository is gated: it is given to accounts that accepted its terms",
            do="open its page in a browser, accept, then `hf auth login` with that account",
        )
    if status == 401 and not _has_token():
        return UserError(
            "the hub does not show these weights without a login",
            where=where,
            why="the repository is private or gated, or the name is wrong: the hub answers alike",
            do="check the name's spelling; then `hf auth login`, or set HF_TOKEN",
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return UserError(
            "the hub has no such weights",
            where=where,
            why="no repository of this name is visible to your account",
            do="check the name's spelling on the hub",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(
            "the hub has no such revision of these weights",
            where=where,
            do=f"check `pretrained.{name}.revision`",
        )
    why = str(error).strip().split("\n")[0] or type(error).__name__
    return UserError(
        "the weights could not be fetched",
        where=where,
        why=f"the hub cannot be reached and its cache does not have them ({why})",
        do="fetch them where there is a network: `hf download "
        f"{hub} --local-dir FOLDER`, bring the folder here and write `path: FOLDER` instead of "
        "`hub`; or copy the hub's cache and set HF_HUB_OFFLINE=1",
    )


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _copy_checkpoint(given: Path, settings: Pretrained, folder: Path) -> Path:
    """A stage's file as it is, seen to be the one that is meant; the stage reads it."""
    file = given / settings.file if given.is_dir() and settings.file else given
    if not file.is_file():
        raise UserError(
            "the checkpoint is not there",
            where=str(file),
            why="a folder was named, and no `file` in it" if file.is_dir() else "",
            do="name the file: `path`, or `file` beside `hub`",
        )
    _checked_file(file, settings)
    target = folder / f"{CHECKPOINT}{file.suffix}"
    shutil.copyfile(file, target)
    return target


def _write_network(given: Path, settings: Pretrained, folder: Path) -> str:
    """Write the network in the hub's form; the hash of the file that was given."""
    if settings.kind == sound.SoundConfig.model_type:
        digest = _checked_file(sound.weights_file(given), settings)
        save_network(_load(given, settings), folder)
        sound.copy_tokenizer(given, folder)
        return digest
    if given.is_file():
        digest = _checked_file(given, settings)
        if settings.kind != "hubert":
            raise UserError(
                f"a single file cannot be read as {settings.kind}",
                where=str(given),
                do="give a folder in the hub's form; of single files only HuBERT's (fairseq)",
            )
        from etude.pretrained.fairseq_file import convert_hubert

        save_network(convert_hubert(given), folder)
        return digest
    files = [given / WEIGHTS, given / INDEX, given / "pytorch_model.bin"]
    file = next((f for f in files if f.is_file()), None)
    if file is None or not (given / "config.json").is_file():
        raise UserError(
            "this folder holds no network in the hub's form",
            where=str(given),
            why=f"there is no config.json with {WEIGHTS} or pytorch_model.bin in it",
            do="give the folder that `save_pretrained` wrote or `hf download` fetched",
        )
    digest = _checked_file(file, settings)
    _check_kind(given, settings)
    save_network(_load(given, settings), folder)
    for name in BESIDE:
        if (given / name).is_file():
            shutil.copyfile(given / name, folder / name)
    return digest


def _load(given: Path, settings: Pretrained) -> Any:
    try:
        model, info = network_class(settings.kind).from_pretrained(
            str(given), output_loading_info=True, local_files_only=True
        )
    except BROKEN as error:
        raise UserError(
            "the weights cannot be read",
            where=str(given),
            why=str(error).strip().split("\n")[0] or type(error).__name__,
            do="fetch them again; a file is missing or damaged",
        ) from None
    missing = [key for key in info["missing_keys"] if "masked_spec_embed" not in key]
    if missing:
        raise UserError(
            f"the file lacks {len(missing)} weights of a {settings.kind}",
            where=str(given),
            why=f"the first is {min(missing)}",
            do="fetch them again, or name weights of this kind",
        )
    return model


def _check_kind(given: Path, settings: Pretrained) -> None:
    from etude.storage import read_json

    found = read_json(given / "config.json").get("model_type")
    if found != network_class(settings.kind).config_class.model_type:
        raise UserError(
            f"these weights are of a {found!r}, not of a {settings.kind!r}",
            where=str(given),
            do="correct `kind`, or name other weights",
        )


def _checked_file(file: Path, settings: Pretrained) -> str:
    """The file's hash, seen to be the configuration's; a pickle needs a hash or trust.

    pytorch_model.bin in the hub's form is read as tensors only and needs neither.
    """
    digest = hash_file(file)
    if settings.sha256 not in (None, digest):
        raise UserError(
            "these are not the weights whose sha256 the configuration has",
            where=str(file),
            why=f"it is {digest}, expected was {settings.sha256}",
            do="get the right file, or correct `sha256`",
        )
    pickled = file.suffix in (".pt", ".pth", ".ckpt") or (
        file.suffix == ".bin" and file.name != "pytorch_model.bin"
    )
    if pickled and not (settings.sha256 or settings.trust):
        raise UserError(
            "a pickle is read only when its hash is known",
            where=str(file),
            why="who can change it could change what it does",
            do=f"write `sha256: {digest}` beside it if you know that this is the right file",
        )
    return digest


def _write_centres(given: Path, settings: Pretrained, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    _checked_file(given, settings)
    centres = torch.from_numpy(read_centres(given))
    save_file({"centres": centres}, folder / CENTRES)
