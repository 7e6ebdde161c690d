"""Names of embeddings: they are part of the configuration, so they stand below the metrics.

A new one that Étude computes itself is a module in etude/metrics and one line here.
"""

from __future__ import annotations

from collections.abc import Iterable

from etude.plugins import is_plugin

# Module and class of what runs here; the module is imported only when it is asked for.
EMBEDDINGS = {
    "logmel": "etude.metrics.logmel:LogMel",
    "chroma_onset": "etude.metrics.chroma_onset:ChromaOnset",
    "timbre": "etude.metrics.timbre:Timbre",
    "harmony": "etude.metrics.harmony:Harmony",
    "time": "etude.metrics.timing:Timing",
    "progression": "etude.metrics.progression:Progression",
    "form": "etude.metrics.form:Form",
}

# fadtk's embeddings run in fadtk's own environment, on the very folders that Étude writes.
FADTK = (
    "clap-laion-audio", "clap-laion-music", "clap-2023", "encodec-emb", "encodec-emb-48k",
    "vggish", "MERT-v1-95M", "dac-44kHz", "cdpam-acoustic", "cdpam-content", "w2v2-base",
    "w2v2-large", "hubert-base", "hubert-large", "wavlm-base", "wavlm-large", "whisper-small",
)  # fmt: skip


def why_not(name: str, pretrained: Iterable[str] = (), *, fadtk: bool = False) -> str:
    """Why an embedding cannot run here, and how to get it; empty when it can.

    Args:
        pretrained: names of `pretrained` in the configuration.
        fadtk: whether fadtk's embeddings run in an environment of their own.
    """
    if name in EMBEDDINGS or is_plugin(name) or name in pretrained:
        return ""
    if name in FADTK:
        if fadtk:
            return ""
        return (
            "needs pretrained weights. By fadtk: set `evaluation.fadtk: true` and run with "
            f"--sdm conda. By transformers: name weights `{name}` in `pretrained` (kind clap)"
        )
    return f"no embedding has this name; there are: {', '.join([*EMBEDDINGS, *FADTK])}"
