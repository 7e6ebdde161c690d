"""The configuration: every key, its default, its range and its meaning, in one place.

`config/README.md` is generated from these models (`python -m etude config`), presets and the
user's own files merge over `config/config.yaml`, and a key that is not here is an error that
names the nearest one. This module is read when Snakemake parses the workflow, so it imports
the standard library, pydantic and yaml only.
"""

from etude.config.base import Section, SectionType, closest, merge
from etude.config.captions import Captions
from etude.config.concepts import ConceptMetrics
from etude.config.corpora import (
    WE_SHARP_FILTER,
    Annotations,
    ArchiveCorpus,
    Corpus,
    CorpusBase,
    Filter,
    FolderCorpus,
    Music21Corpus,
    PluginCorpus,
    Render,
    Split,
)
from etude.config.criteria import Criteria
from etude.config.embeddings import EMBEDDINGS, FADTK
from etude.config.evaluation import Evaluation
from etude.config.memorisation import Memorisation
from etude.config.networks import PluginNetwork
from etude.config.page import Page
from etude.config.pretrained import PRETRAINED_KINDS, Encodec, Hubert, Pretrained
from etude.config.reading import DEFAULT, load_config, parse_section, read, validated
from etude.config.studio import StudioSettings
from etude.config.sweeps import Sweep
from etude.config.symbolic_metrics import SymbolicMetrics, Word2Vec
from etude.config.symbolic_tokens import (
    SYMBOLIC_KINDS,
    AnyTokenizer,
    AnyTokenSet,
    OnOff,
    Remi,
    RemiZ,
    Structured,
    SymbolicFit,
    SymbolicTokenSet,
    Tsd,
)
from etude.config.systems import Experiment
from etude.config.systems.base import (
    ExperimentBase,
    GenerateSettings,
    StagePlan,
    StageSettings,
    TrainedExperiment,
)
from etude.config.systems.training import Sampling, Seeds, TrainingSettings, Weights
from etude.config.tokens import (
    ACOUSTIC_KINDS,
    SEMANTIC_KINDS,
    Cut,
    MagnitudeRvq,
    Mfcc,
    PluginTokenizer,
    SemitoneBands,
    Tokenizer,
    TokenSet,
)
from etude.config.tokens_fit import Fit
from etude.config.whole import Config

__all__ = [
    "ACOUSTIC_KINDS",
    "DEFAULT",
    "EMBEDDINGS",
    "FADTK",
    "PRETRAINED_KINDS",
    "SEMANTIC_KINDS",
    "SYMBOLIC_KINDS",
    "WE_SHARP_FILTER",
    "Annotations",
    "AnyTokenSet",
    "AnyTokenizer",
    "ArchiveCorpus",
    "Captions",
    "ConceptMetrics",
    "Config",
    "Corpus",
    "CorpusBase",
    "Criteria",
    "Cut",
    "Encodec",
    "Evaluation",
    "Experiment",
    "ExperimentBase",
    "Filter",
    "Fit",
    "FolderCorpus",
    "GenerateSettings",
    "Hubert",
    "MagnitudeRvq",
    "Memorisation",
    "Mfcc",
    "Music21Corpus",
    "OnOff",
    "Page",
    "PluginCorpus",
    "PluginNetwork",
    "PluginTokenizer",
    "Pretrained",
    "Remi",
    "RemiZ",
    "Render",
    "Sampling",
    "Section",
    "SectionType",
    "Seeds",
    "SemitoneBands",
    "Split",
    "StagePlan",
    "StageSettings",
    "Structured",
    "StudioSettings",
    "Sweep",
    "SymbolicFit",
    "SymbolicMetrics",
    "SymbolicTokenSet",
    "TokenSet",
    "Tokenizer",
    "TrainedExperiment",
    "TrainingSettings",
    "Tsd",
    "Weights",
    "Word2Vec",
    "closest",
    "load_config",
    "merge",
    "parse_section",
    "read",
    "validated",
]
