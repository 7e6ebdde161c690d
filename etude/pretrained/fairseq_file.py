"""fairseq's HuBERT checkpoints as transformers' HubertModel, without fairseq.

The file is a torch pickle of {"model": state dict, "cfg" or "args": fairseq's own classes, …}. Only
tensors and plain containers are made of it; fairseq's classes become empty ones, and no code of the
file's author runs. Names are mapped one by one, and a name that is left over is an error.
"""

from __future__ import annotations

import logging
import pickle
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from etude.errors import UserError
from etude.pretrained.joblib_file import UnknownClass

log = logging.getLogger(__name__)

CONV = r"feature_extractor.conv_layers.\1."
POSITION = "encoder.pos_conv_embed.conv."
PARAMETRIZED = POSITION + "parametrizations.weight.original"

# fairseq's name -> transformers', in order; the first that fits counts.
NAMES = (
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", CONV + "conv."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.2\.1\.", CONV + "layer_norm."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.2\.", CONV + "layer_norm."),
    (r"^encoder\.pos_conv\.0\.weight_g$", PARAMETRIZED + "0"),
    (r"^encoder\.pos_conv\.0\.weight_v$", PARAMETRIZED + "1"),
    (r"^encoder\.pos_conv\.0\.bias$", POSITION + "bias"),
    (r"^encoder\.layer_norm\.", "encoder.layer_norm."),
    (r"^encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
    (r"^encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (r"^encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"^encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
    (r"^encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
)  # fmt: skip
BROKEN = (OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError)
# Of the training objective, not of the features.
UNUSED = re.compile(r"^(final_proj\.|label_embs_concat$|target_glu\.)")


class TensorsOnly(pickle.Unpickler):
    """Makes tensors, containers and numbers; every other class is replaced by an empty one."""

    ALLOWED = (
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
    )

    def find_class(self, module: str, name: str) -> Any:  # noqa: D102
        storage = module == "torch" and (name.endswith("Storage") or name in torch.__dict__)
        dtype = storage and isinstance(getattr(torch, name, None), torch.dtype)
        if (module, name) in self.ALLOWED or dtype or (storage and name.endswith("Storage")):
            return super().find_class(module, name)
        return type(name, (UnknownClass,), {})


def read_fairseq(path: Path) -> dict[str, Tensor]:
    """The state dict of a fairseq checkpoint.

    Raises:
        UserError: it cannot be read, or is no such file.
    """
    reader = SimpleNamespace(
        Unpickler=TensorsOnly, load=lambda file, **_: TensorsOnly(file).load(), __name__="pickle"
    )
    try:
        found = torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)
    except BROKEN as error:
        raise _no_checkpoint(path, str(error).split("\n")[0]) from None
    except pickle.UnpicklingError as error:
        raise _no_checkpoint(path, str(error)) from None
    state = found.get("model") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise _no_checkpoint(path, "there is no state dict under `model`")
    return dict(state)


def convert_hubert(path: Path) -> Any:
    """transformers' HubertModel with the weights of a fairseq HuBERT; sizes are read off them.

    Raises:
        UserError: not a HuBERT, or one of a form that transformers' class cannot have.
    """
    from transformers import HubertModel

    state: dict[str, Tensor] = {}
    for name, tensor in read_fairseq(path).items():
        if not UNUSED.match(name):
            state[new_name(name, path)] = tensor.float()
    model = HubertModel(hubert_config(state, path))
    # Set where the weights do not have it: it only matters in pre-training.
    state.setdefault("masked_spec_embed", model.state_dict()["masked_spec_embed"])
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise _no_checkpoint(path, " ".join(str(error).split())[:300]) from None
    return model.eval()


def new_name(name: str, path: Path) -> str:
    """transformers' name of a weight."""
    for pattern, replacement in NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    raise _no_checkpoint(path, f"HuBERT has no weight called {name!r}")


def hubert_config(state: dict[str, Tensor], path: Path) -> Any:
    """The sizes that the weights show; they do not show heads (64 wide) and strides (HuBERT's)."""
    from transformers import HubertConfig

    try:
        convolutions = [
            state[f"feature_extractor.conv_layers.{i}.conv.weight"]
            for i in range(sum(".conv.weight" in n and "extractor" in n for n in state))
        ]
        width = len(state["encoder.layer_norm.weight"])
        position = state[PARAMETRIZED + "1"]
        every = "feature_extractor.conv_layers.1.layer_norm.weight" in state
        return HubertConfig(
            hidden_size=width,
            num_hidden_layers=1 + max(int(n.split(".")[2]) for n in state if ".fc" not in n
                                      and n.startswith("encoder.layers.")),
            num_attention_heads=max(width // 64, 1),
            intermediate_size=len(state["encoder.layers.0.feed_forward.intermediate_dense.bias"]),
            conv_dim=[len(weight) for weight in convolutions],
            conv_kernel=[weight.shape[2] for weight in convolutions],
            conv_bias="feature_extractor.conv_layers.0.conv.bias" in state,
            feat_extract_norm="layer" if every else "group",
            do_stable_layer_norm=every,
            num_conv_pos_embeddings=position.shape[2],
            num_conv_pos_embedding_groups=width // position.shape[1],
        )  # fmt: skip
    except (KeyError, ValueError, IndexError) as error:
        raise _no_checkpoint(path, f"it has no {error}") from None


def _no_checkpoint(path: Path, why: str) -> UserError:
    return UserError(
        "this is no HuBERT checkpoint of fairseq",
        where=str(path),
        why=why,
        do="give hubert_base_ls960.pt as fairseq published it, or the hub's form of it",
    )
