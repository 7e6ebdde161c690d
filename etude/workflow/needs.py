"""What a run needs that it does not make: files to bring, weights of others, extra packages.

One list for the rules and for `etude doctor`. Standard library, pydantic and yaml only.
"""

from __future__ import annotations

from pathlib import Path

from etude.config import ArchiveCorpus, Config, ExperimentBase, StageSettings
from etude.errors import UserError
from etude.storage import check_folder
from etude.workflow import imported_tokenizers, imported_weights, sources

KEYS = ("model", "centres")  # of tokenizers: names from `pretrained`


def experiments_of(config: Config) -> dict[str, ExperimentBase]:
    """The experiments of the run, by name."""
    return {name: config.experiments[name] for name in config.run if name in config.experiments}


def with_bases(config: Config) -> dict[str, ExperimentBase]:
    """The experiments of the run, and those that they build on, whether these are run or not."""
    found, waiting = {}, list(config.run)
    while waiting:
        name = waiting.pop(0)
        if name in config.experiments and name not in found:
            found[name] = config.experiments[name]
            waiting += found[name].builds_on
    return found


def stages_of(config: Config) -> list[tuple[str, str, StageSettings]]:
    """Experiment, stage and settings of every stage of the run."""
    found = experiments_of(config).items()
    return [(name, plan.name, plan.settings) for name, e in found for plan in e.stage_plans()]


def weights_used(config: Config) -> dict[str, list[str]]:
    """Names of `pretrained` that the run needs, and the tables below results/ that prove them."""
    used: dict[str, list[str]] = {}
    for experiment in with_bases(config).values():
        for tokenizer in experiment.roles(config).values():
            settings = config.tokenizers[tokenizer]
            for name in (getattr(settings, key, None) for key in KEYS):
                if name in config.pretrained:
                    corpus = settings.fit.corpus or experiment.corpus
                    used.setdefault(name, []).append(f"verified/{corpus}/{tokenizer}.csv")
        for plan in experiment.stage_plans():
            if plan.settings.weights is not None and plan.settings.weights.pretrained is not None:
                proofs = used.setdefault(plan.settings.weights.pretrained, [])
                if experiment.proves_texts:
                    tokenizer = experiment.roles(config)["acoustic"]
                    corpus = config.tokenizers[tokenizer].fit.corpus or experiment.corpus
                    name = plan.settings.weights.pretrained
                    proofs.append(f"verified_texts/{corpus}/{tokenizer}/{name}.csv")
        for name in filter(config.pretrained.__contains__, config.evaluation.embeddings):
            place = f"{experiment.corpus}/{experiment.cut_name(config)}"
            used.setdefault(name, []).append(f"verified_embeddings/{place}/{name}.csv")
    return used


def environments_used(config: Config) -> list[str]:
    """The environments that the networks of the run's experiments need, each once."""
    used = {
        experiment.env(plan.name)
        for experiment in experiments_of(config).values()
        for plan in experiment.stage_plans()
    }
    return sorted(used)


def to_bring(config: Config) -> list[UserError]:
    """What the run needs and a user has to bring by hand, as errors; empty when all is there."""
    found = []
    for name in dict.fromkeys(e.corpus for e in experiments_of(config).values()):
        corpus = config.corpora[name]
        if paths := sources.to_bring(corpus):
            found.append(sources.bring_error(f"the corpus {name!r}", paths, corpus.bring or ""))
    for name in weights_used(config):
        weights = config.pretrained[name]
        if weights.bring and weights.path and not weights.path.exists():
            what = f"the pretrained part {name!r}"
            found.append(sources.bring_error(what, [weights.path], weights.bring))
    return found


def downloads(config: Config, results: Path = Path("results")) -> list[str]:
    """What the run will download and has not yet, a line each; empty where nothing is."""
    found = []
    for name in dict.fromkeys(e.corpus for e in experiments_of(config).values()):
        corpus = config.corpora[name]
        if not isinstance(corpus, ArchiveCorpus) or sources.archive_file(corpus):
            continue
        if not (results / "corpora" / name / "source").exists():
            found.append(f"to be downloaded: the corpus {name!r} from {corpus.url}")
    for name in weights_used(config):
        weights = config.pretrained[name]
        if weights.path is None and not (results / "pretrained" / name).exists():
            where = weights.url or f"https://huggingface.co/{weights.hub}"
            found.append(f"to be downloaded: the weights {name!r} from {where}")
    return found


def check_needs(config: Config) -> None:
    """Check that what the run imports from elsewhere exists, and that results can be written.

    Raises:
        UserError: the first that is not.
    """
    check_folder(Path("results"))
    for name in dict.fromkeys(e.corpus for e in experiments_of(config).values()):
        sources.check_files(config.corpora[name])
    for experiment in experiments_of(config).values():
        for tokenizer in experiment.roles(config).values():
            imported_tokenizers.check_fitted(config.tokenizers[tokenizer].fit)
        for plan in experiment.stage_plans():
            for seed in experiment.seeds.train:
                weights = plan.settings.weights
                imported_weights.check_weights(weights, plan.name, seed, config.experiments)
