"""A trained language model of notes as transformers has one: its network, and a fast tokenizer.

config.json, model.safetensors           read by `AutoModelForCausalLM.from_pretrained`
tokenizer.json, tokenizer_config.json    read by `PreTrainedTokenizerFast.from_pretrained`: each
                                         token is a word, `on_60_15 on_64_0`
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace, WhitespaceSplit

from etude.errors import UserError
from etude.storage import write_json
from etude.systems.base import Parts
from etude.tokenizers.symbolic.base import SymbolicTokenizer
from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer

FORM = "transformers"
WEIGHTS = ("config.json", "model.safetensors")


def write_transformers(parts: Parts, folder: Path) -> None:
    """Write the folder of a trained stage and its tokenizer into one that is there.

    Raises:
        UserError: the network is none of transformers', or the tokenizer's tokens are no words.
    """
    stage = parts.models["lm"]
    for name in WEIGHTS:
        shutil.copyfile(stage / name, folder / name)
    tokenizer = load_symbolic_tokenizer(parts.tokenizers["tokenizer"])
    words = fast_tokenizer(tokenizer)
    words.save(str(folder / "tokenizer.json"))
    special = {"pad": tokenizer.pad, "unk": tokenizer.unknown}
    special |= {"bos": tokenizer.bos, "eos": tokenizer.eos}
    names = tokenizer.names()
    named = {f"{role}_token": names[i] for role, i in special.items() if i is not None}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(folder / "tokenizer_config.json", about | named)


def fast_tokenizer(tokenizer: SymbolicTokenizer) -> Tokenizer:
    """The vocabulary as a tokenizer of words; MidiLM's where it is MidiLM's.

    Raises:
        UserError: its tokens have no names that are words.
    """
    names = tokenizer.names()
    if len(set(names)) != tokenizer.vocabulary or any(re.search(r"\s", name) for name in names):
        raise UserError(
            f"the tokens of a tokenizer of kind {tokenizer.settings.kind!r} are no words",
            where="--form transformers",
            why="several tokens are one word (byte pairs), or a name has a space",
            do="train with a tokenizer without `bpe`",
        )
    ids = {name: number for number, name in enumerate(names)}
    unknown = names[tokenizer.unknown] if tokenizer.unknown is not None else None
    words = Tokenizer(WordLevel(ids, unk_token=unknown) if unknown else WordLevel(ids))
    specials = [names[i] for i in (tokenizer.pad, tokenizer.unknown) if i is not None]
    words.add_special_tokens(specials)
    plain = all(re.fullmatch(r"\w+", name) for name in names if name not in specials)
    words.pre_tokenizer = Whitespace() if plain else WhitespaceSplit()
    return words
