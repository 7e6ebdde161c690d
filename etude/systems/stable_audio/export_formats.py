"""A trained experiment as other programs have it: with its adapters in it, or as an adapter.

diffusers    the folder of a StableAudioPipeline or StableAudio3Pipeline
tools        model.ckpt and model_config.json of stable-audio-tools (Stable Audio Open only)
peft         adapter_config.json and adapter_model.safetensors, of an adapter alone
"""

from __future__ import annotations

import shutil
from pathlib import Path

from etude.errors import UserError
from etude.pretrained.sound import PARTS, SoundConfig, SoundNetworks
from etude.pretrained.sound_writing import write_pipeline, write_tools
from etude.systems.base import Parts
from etude.systems.musicgen.texts import TOKENIZER
from etude.systems.stable_audio.adapter import FILES
from etude.systems.stable_audio.network import Sound, configurations
from etude.systems.stable_audio.player import SoundPlayer

WRITERS = {"diffusers": write_pipeline, "tools": write_tools}
FORMS = (*WRITERS, "peft")


def write_form(player: SoundPlayer, parts: Parts, stage: str, form: str, folder: Path) -> None:
    """Write a form into a folder that is there.

    Args:
        player: open, its adapters as strong as they are to be.
        stage: the name of the transformer's.

    Raises:
        UserError: this experiment has no such form.
    """
    if form == "peft":
        _write_adapter(parts.models[stage], folder)
        return
    networks = whole(player)
    text = folder / TOKENIZER
    player.model.tokenizer.save(str(text))
    try:
        WRITERS[form](networks, text, folder)
    except ValueError as error:
        raise _no_form(form, str(error)) from None
    text.unlink()


def whole(player: SoundPlayer) -> SoundNetworks:
    """All networks of a player as one, adapters added to the weights.

    Raises:
        UserError: its autoencoder is no network.
    """
    kind = str(player.autoencoder.shape["kind"])
    if "config" not in player.autoencoder.shape:
        raise _no_form("", f"its latents are made by the tokenizer's PCA ({kind}), no network")
    if hasattr(player.model.transformer, "merge_and_unload"):
        player.model.transformer = player.model.transformer.merge_and_unload()
    model: Sound = player.model
    configs = {k: dict(v) for k, v in configurations(model.shape, model.settings).items()}
    configs["autoencoder"] = dict(player.autoencoder.shape["config"])
    made = SoundNetworks(SoundConfig(kind, model.text_length, configs))
    for part in PARTS:
        own = player.autoencoder.network.network if part == "autoencoder" else getattr(model, part)
        getattr(made, part).load_state_dict(own.state_dict())
    return made.eval()


def _write_adapter(stage: Path, folder: Path) -> None:
    for name in FILES:
        if not (stage / name).is_file():
            raise _no_form("peft", "it has no adapter (adapt.kind: lora)")
        shutil.copyfile(stage / name, folder / Path(name).name)


def _no_form(form: str, why: str) -> UserError:
    return UserError(
        f"this experiment cannot be written for {form or 'other programs'}",
        where=f"--form {form}" if form else "--form",
        why=why,
        do="adapt pretrained weights of Stable Audio, or export it for Étude (without --form)",
    )
