"""The configuration: every key, its default, its range and its meaning, in one place.

`config/README.md` is generated from these models (`python -m etude config`), presets and the
user's own files merge over `config/config.yaml`, and a key that is not here is an error that
names the nearest one. This module is read when Snakemake parses the workflow, so it imports
the standard library, pydantic and yaml only.
"""

from etude.config.base import Section, SectionType, merge, nearest
from etude.config.corpora import (
    WE_SHARP_FILTER,
    ArchiveCorpus,
    Corpus,
    CorpusBase,
    Filter,
    FolderCorpus,
    Music21Corpus,
    OwnCorpus,
    Render,
    Split,
)
from etude.config.embeddings import EMBEDDINGS, FADTK
from etude.config.evaluation import Evaluation
from etude.config.memorisation import Memorisation
from etude.config.reading import DEFAULT, checked, load, parse, read
from etude.config.sweeps import Sweep
from etude.config.systems import (
    STAGE_DEFAULTS,
    AudioLm,
    AudioLmStages,
    Experiment,
    External,
    Generate,
    Network,
    OwnNetwork,
    Sampling,
    Seeds,
    Stage,
    Training,
    Weights,
)
from etude.config.tokens import (
    ACOUSTIC_KINDS,
    SEMANTIC_KINDS,
    Cut,
    Fit,
    MagnitudeRvq,
    Mfcc,
    OwnTokenizer,
    SemitoneBands,
    Tokenizer,
    TokenSet,
)
from etude.config.whole import Config

__all__ = [
    "ACOUSTIC_KINDS",
    "DEFAULT",
    "EMBEDDINGS",
    "FADTK",
    "SEMANTIC_KINDS",
    "STAGE_DEFAULTS",
    "WE_SHARP_FILTER",
    "ArchiveCorpus",
    "AudioLm",
    "AudioLmStages",
    "Config",
    "Corpus",
    "CorpusBase",
    "Cut",
    "Evaluation",
    "Experiment",
    "External",
    "Filter",
    "Fit",
    "FolderCorpus",
    "Generate",
    "MagnitudeRvq",
    "Memorisation",
    "Mfcc",
    "Music21Corpus",
    "Network",
    "OwnCorpus",
    "OwnNetwork",
    "OwnTokenizer",
    "Render",
    "Sampling",
    "Section",
    "SectionType",
    "Seeds",
    "SemitoneBands",
    "Split",
    "Stage",
    "Sweep",
    "TokenSet",
    "Tokenizer",
    "Training",
    "Weights",
    "checked",
    "load",
    "merge",
    "nearest",
    "parse",
    "read",
]
