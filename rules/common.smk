# What the rules share: the checked configuration, names for wildcards, input functions.

import functools
import hashlib
import json
import re
import sys
from pathlib import Path

# Étude's own folder, also where another Snakefile includes this one.
HOME = Path(workflow.current_basedir).parent
sys.path.insert(0, str(HOME))

import etude.config
import etude.runs
from etude.workflow import audiolm_release
from etude.workflow import sources
from etude.corpus import forecast, scan
from etude.errors import UserError
from etude.metrics import registry
from etude.workflow import given_weights
from etude.workflow import given_tokenizers as given_tokenizer
from etude.own import digest, is_own, label
from etude.storage import check_folder
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

try:
    # Read as `python -m etude` reads it: one way of merging, one of checking.
    CONFIG = etude.config.read(
        etude.config.DEFAULT,
        *workflow.config_settings.configfiles,
        overrides=workflow.config_settings.config,
    )
except UserError as error:
    raise WorkflowError(str(error))


# What --retries or a profile says, for trainings: each try goes on from the saved state. The main
# process alone tries again: in a job of a cluster the next try would be in what is left of its time.
RETRIES = getattr(workflow.execution_settings, "retries", 0) or 1  # no settings in a dry run
if not workflow.is_main_process:
    RETRIES = 0


def either(names):
    """A wildcard constraint: one of these names."""
    return "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "none"


wildcard_constraints:
    corpus=either(CONFIG.corpora),
    cut=either(CONFIG.cuts),
    shard=r"\d{4}",
    tokenizer=either(CONFIG.tokenizers),
    tokens=either(CONFIG.tokens),
    experiment=either(CONFIG.experiments),
    stage=either({p.name for e in CONFIG.experiments.values() for p in e.stage_plans()}),
    seed=r"\d+",
    draw=r"\d+",
    step=r"\d+",
    pretrained=either(CONFIG.pretrained),
    clips=r"baselines|seed-\d+/draw-\d+",
    embedding=either(map(label, CONFIG.evaluation.embeddings)),


def version(*modules, own=()):
    """What results hang on: the VERSION of modules of etude, the bytes of those of a user's own.

    Both are read without importing anything.
    """
    found = {name: digest(name) for name in own}
    for name in modules:
        code = Path(HOME, "etude", f"{name}.py").read_text(encoding="utf-8")
        found[name] = int(re.search(r"^VERSION = (\d+)", code, re.MULTILINE)[1])
    return json.dumps(found, sort_keys=True)


def version_of_tokenizer(wildcards):
    """The VERSION of the module of a tokenizer's kind."""
    kind = CONFIG.tokenizers[wildcards.tokenizer].kind
    if is_own(kind):
        return version(own=[kind])
    if kind in etude.config.SYMBOLIC_KINDS:
        return version(f"tokenizers/symbolic/{'onoff' if kind == 'onoff' else 'midi_tok'}")
    return version(f"tokenizers/{kind}")


def version_of_networks(*modules):
    """A params function: the VERSION of modules, and the networks of a user's own in an experiment
    (those of one stage where the wildcards name it).
    """

    def versions(wildcards):
        experiment, stage = experiment_of(wildcards), wildcards.get("stage")
        own = experiment.own_networks(*[stage] * bool(stage)) if experiment.trained else ()
        return version(*modules, own=own)

    return versions


# The modules that a system's networks, trainings and baselines hang on.
SYSTEM_MODULES = {
    "audiolm": {
        "models": ("systems/audiolm/stages",),
        "training": (
            "systems/audiolm/stages",
            "systems/audiolm/codebook_transformer",
            "training/loop",
            "training/data",
        ),
        "baselines": ("generation/baselines", "systems/audiolm/sampling", "systems/audiolm/stages"),
        "prefixes": ("metrics/memorisation/extraction", "systems/audiolm/sampling", "systems/audiolm/stages"),
    },
    "symbolic_lm": {
        "models": ("systems/symbolic_lm/stage",),
        "training": (
            "systems/symbolic_lm/stage",
            "training/loop",
            "training/data",
            "systems/symbolic_lm/data",
        ),
        "baselines": (
            "generation/baselines",
            "systems/symbolic_lm/baselines",
            "systems/symbolic_lm/player",
            "systems/symbolic_lm/sampling",
            "systems/symbolic_lm/stage",
            "systems/ngram",
            "midi/render",
            "midi/writing",
        ),
        "prefixes": (
            "metrics/memorisation/extraction",
            "systems/symbolic_lm/beginnings",
            "systems/symbolic_lm/sampling",
            "systems/symbolic_lm/stage",
            "systems/symbolic_lm/data",
        ),
    },
    "external": {"baselines": ("generation/baselines", "systems/audiolm/sampling", "systems/audiolm/stages")},
}


def version_of_system(what):
    """A params function: the VERSION of what an experiment's system hangs on."""

    def versions(wildcards):
        modules = SYSTEM_MODULES[experiment_of(wildcards).system][what]
        if library_stages(wildcards):
            modules = (*modules, "systems/audiolm/audiolm_pytorch")
        return version_of_networks(*modules)(wildcards)

    return versions


def library_stages(wildcards):
    """The stages whose network is audiolm-pytorch's: the one that is named, or any of all."""
    experiment, stage = experiment_of(wildcards), wildcards.get("stage")
    if experiment.system != "audiolm":
        return []
    return experiment.library_stages(*[stage] * bool(stage))


def with_library(env):
    """A conda function: this environment, or that of audiolm-pytorch where its networks run."""

    def choose(wildcards):
        return "../envs/audiolm.yaml" if library_stages(wildcards) else env

    return choose


def version_of_source(wildcards):
    """The VERSION of fetching, and the source where it is a user's own."""
    source = corpus_of(wildcards).source
    return version("corpus/fetch", own=[source] if is_own(source) else [])


def embedding_of(wildcards):
    """The embedding that the wildcards name: of a user's own they have the class only."""
    return next(n for n in CONFIG.evaluation.embeddings if label(n) == wildcards.embedding)


def version_of_embedding(wildcards):
    """The VERSION of an embedding's module and of the door to it."""
    name = embedding_of(wildcards)
    if is_own(name):
        return version("metrics/clip_sets", own=[name])
    if name in etude.config.FADTK and name not in CONFIG.pretrained:
        return version("metrics/fadtk_models", "metrics/clip_sets")
    package, *rooms = registry.EMBEDDINGS.get(name, registry.PRETRAINED).split(":")[0].split(".")
    return version(Path(*rooms).as_posix(), "metrics/clip_sets")


# ------------------------------------------------------------------------------------- corpora


def corpus_of(wildcards):
    """The settings of the corpus that the wildcards name."""
    return CONFIG.corpora[wildcards.corpus]


def source_folder(wildcards):
    """What a corpus is read from: the fetched folder; a user's own folder is no input."""
    fetched = corpus_of(wildcards).source != "folder"
    return f"results/corpora/{wildcards.corpus}/source" if fetched else []


def scan_digest(wildcards):
    """Changes when a file of this shard does; what makes ingest run again for own folders."""
    corpus = corpus_of(wildcards)
    if corpus.source != "folder" or not workflow.is_main_process or sources.to_bring(corpus):
        return ""
    return scanned(wildcards.corpus)[int(wildcards.shard)]


@functools.cache
def scanned(name):
    """A digest per shard of a user's own folder."""
    corpus = CONFIG.corpora[name]
    try:
        return scan.digests(corpus.path, corpus.shards, corpus.limit, corpus.metadata)
    except UserError as error:
        raise WorkflowError(str(error))


def shards_of(corpus):
    """The shard names of a corpus, known before anything runs."""
    return [f"{shard:04d}" for shard in range(CONFIG.corpora[corpus].shards)]


def per_shard(pattern):
    """An input function: the pattern for every shard of the corpus."""

    def files(wildcards):
        return collect(pattern, shard=shards_of(wildcards.corpus), allow_missing=True)

    return files


# -------------------------------------------------------------------------------------- tokens


SYMBOLIC_TOKENIZERS = list(filter(CONFIG.is_symbolic, CONFIG.tokenizers))
AUDIO_TOKENIZERS = [name for name in CONFIG.tokenizers if name not in SYMBOLIC_TOKENIZERS]
SYMBOLIC_SETS = [n for n, s in CONFIG.tokens.items() if hasattr(s, "tokenizer")]
AUDIO_SETS = [name for name in CONFIG.tokens if name not in SYMBOLIC_SETS]


def is_given(tokenizer):
    """Whether a tokenizer is taken over from elsewhere."""
    return CONFIG.tokenizers[tokenizer].fit.folder is not None


def learns(tokenizer):
    """Whether a symbolic tokenizer is shown the training split: byte pairs, one of a user's own."""
    settings = CONFIG.tokenizers[tokenizer]
    return is_own(settings.kind) or getattr(settings, "bpe", None) is not None


def where_it_learns(pattern):
    """An input function: the pattern (for every shard) where the tokenizer learns; else nothing."""

    def files(wildcards):
        if not learns(wildcards.tokenizer):
            return []
        shards = shards_of(wildcards.corpus)
        return collect(pattern, corpus=wildcards.corpus, shard=shards)

    return files


def symbolic_tokenizer(wildcards):
    """The tokenizer of a symbolic token set."""
    return fitted(CONFIG.tokens[wildcards.tokens].tokenizer, wildcards.corpus)


SYMBOLIC_EXPERIMENTS = [n for n, e in CONFIG.experiments.items() if e.system == "symbolic_lm"]


def prompted(experiment):
    """Whether an experiment's clips go on from something."""
    return experiment.generate.prompt != "none" or experiment.generate.prime is not None


def symbolic_scores():
    """Figures of the notes of the run's symbolic experiments, and their perplexities."""
    run = [name for name in CONFIG.run if name in SYMBOLIC_EXPERIMENTS]
    return [
        f"results/metrics/{name}/{clips}/symbolic.csv" for name in run for clips in draws(name)
    ] + [
        f"results/metrics/{name}/seed-{seed}/perplexity.csv"
        for name in run
        for seed in CONFIG.experiments[name].seeds.train
    ]


def symbolic_tables():
    """What was counted in the run's symbolic tokens, and MidiLM's files where they are wanted."""
    pairs = {(e.corpus, e.tokens) for e in map(CONFIG.experiments.get, CONFIG.run)}
    wanted = sorted(pair for pair in pairs if pair[1] in SYMBOLIC_SETS)
    return [f"results/tokens/{corpus}/{tokens}/summary" for corpus, tokens in wanted] + [
        f"results/events/{corpus}/{tokens}/{shard}"
        for corpus, tokens in wanted
        if CONFIG.tokens[tokens].write_events
        for shard in shards_of(corpus)
    ]


def fitted(tokenizer, corpus):
    """The folder of a tokenizer as it is fitted for a corpus."""
    fit = CONFIG.tokenizers[tokenizer].fit
    return f"results/tokenizers/{fit.corpus or corpus}/{tokenizer}"


def tokenizer_of(role):
    """An input function: the semantic or acoustic tokenizer of a token set."""

    def folder(wildcards):
        return fitted(getattr(CONFIG.tokens[wildcards.tokens], role), wildcards.corpus)

    return folder


def pretrained_of(key):
    """An input function: the weights that a tokenizer names under a key; nothing for most."""

    def folder(wildcards):
        name = getattr(CONFIG.tokenizers[wildcards.tokenizer], key, None)
        return [f"results/pretrained/{name}"] if name in CONFIG.pretrained else []

    return folder


def given_weights_of(wildcards):
    """The user's own file or folder of pretrained weights; nothing where they are fetched."""
    weights = CONFIG.pretrained[wildcards.pretrained]
    to_come = weights.bring is not None and weights.path and not weights.path.exists()
    return [str(weights.path)] if weights.path and not to_come else []


def verified_tokenizers(wildcards):
    """The proof that pretrained tokenizers of a token set work; nothing for embedded ones."""
    tokens = CONFIG.tokens[wildcards.tokens]
    names = [tokens.semantic, tokens.acoustic]
    pretrained = [
        name for name in names if CONFIG.tokenizers[name].kind in etude.config.PRETRAINED_KINDS
    ]
    corpora = [CONFIG.tokenizers[name].fit.corpus or wildcards.corpus for name in pretrained]
    return [f"results/verified/{c}/{n}.csv" for c, n in zip(corpora, pretrained)]


# Embeddings by weights of others that must order real music, its grains and noise.
CLAPS = [name for name in CONFIG.evaluation.embeddings if name in CONFIG.pretrained]
FADTK_CLAPS = [
    name
    for name in CONFIG.evaluation.embeddings
    if name in etude.config.FADTK and name.startswith("clap") and name not in CONFIG.pretrained
]


def verified_embeddings(wildcards):
    """The proof that the CLAPs work: before anything is trained whose clips they will judge."""
    names = [*CLAPS, *(FADTK_CLAPS if CONFIG.evaluation.fadtk else [])]
    return [path for name in names for path in _proof(name, wildcards)]


def verified_embedding(wildcards):
    """The proof that the embedding of the wildcards works; nothing for those that need none."""
    named = wildcards.embedding in (*CLAPS, *FADTK_CLAPS)
    return _proof(wildcards.embedding, wildcards) if named else []


def _proof(embedding, wildcards):
    pattern = f"results/verified_embeddings/{{corpus}}/{{cut}}/{embedding}.csv"
    return [ancient(path) for path in for_experiment(pattern)(wildcards)]


def cut_of_tokens(wildcards):
    """The cut of a token set."""
    return CONFIG.tokens[wildcards.tokens].cut


def fit_shards(pattern):
    """An input function: the pattern for every shard, with the cut that a tokenizer is fitted on."""

    def files(wildcards):
        cut = CONFIG.tokenizers[wildcards.tokenizer].fit.cut
        shards = shards_of(wildcards.corpus)
        return collect(pattern, corpus=wildcards.corpus, cut=cut, shard=shards)

    return files


# --------------------------------------------------------------------------------- experiments


def experiment_of(wildcards):
    """The settings of the experiment that the wildcards name."""
    return CONFIG.experiments[wildcards.experiment]


def for_experiment(pattern):
    """An input function: the pattern with the experiment's corpus, tokens, cut and tokenizers.

    Nothing where it names a tokenizer of a role that the experiment's token set has not.
    """

    def files(wildcards):
        experiment = experiment_of(wildcards)
        tokens, corpus = CONFIG.tokens[experiment.tokens], experiment.corpus
        roles = {
            role: fitted(getattr(tokens, role), corpus)
            for role in ("semantic", "acoustic", "tokenizer")
            if hasattr(tokens, role)
        }
        absent = {"semantic", "acoustic", "tokenizer"} - roles.keys()
        if any(f"{{{role}}}" in pattern for role in absent):
            return []
        return collect(
            pattern,
            corpus=corpus,
            tokens=experiment.tokens,
            cut=experiment.cut_name(CONFIG),
            shard=shards_of(corpus),
            **roles,
            allow_missing=True,
        )

    return files


def trained_here(pattern):
    """As `for_experiment`, and nothing for systems that Étude does not train."""

    def files(wildcards):
        return for_experiment(pattern)(wildcards) if experiment_of(wildcards).trained else []

    return files


def cut_of_experiment(wildcards):
    """The cut of an experiment's token set."""
    return CONFIG.cuts[experiment_of(wildcards).cut_name(CONFIG)]


def rendering_of(experiment):
    """How a symbolic experiment's clips are played: as its corpus; nothing for audio."""
    if experiment.system != "symbolic_lm":
        return ""
    return CONFIG.corpora[experiment.corpus].params("filter", "render")


def stage_of(wildcards):
    """The settings of the stage that the wildcards name."""
    return getattr(experiment_of(wildcards).stages, wildcards.stage)


def with_stage(imported):
    """A constraint on `{experiment}` in `{experiment}/{stage}/`: is the stage imported or not."""
    pairs = [
        f"{re.escape(name)}(?=/{stage}/)"
        for name, experiment in CONFIG.experiments.items()
        if experiment.trained
        for stage, settings in experiment.stages
        if settings.imported == imported
    ]
    return "|".join(pairs) or "none"


def weights_of(wildcards):
    """The file of weights that config gives a stage; nothing for one that begins at random."""
    return given_weights.weights_file(stage_of(wildcards).weights, wildcards.stage, wildcards.seed)


def codec_to_listen_with(wildcards):
    """The codec, for a stage that config wants to be heard while it trains."""
    heard = stage_of(wildcards).training.audition
    return for_experiment("{acoustic}")(wildcards) if heard else []


def draws(experiment):
    """The clip sets of an experiment: every training seed with every generation seed."""
    settings = CONFIG.experiments[experiment]
    if not settings.trained:
        return ["seed-0/draw-0"]
    seeds = settings.seeds
    return [f"seed-{s}/draw-{d}" for s in seeds.train for d in seeds.generate]


def kept_steps():
    """Weights of the steps that config wants to keep."""
    return [
        f"results/models/{name}/{stage}/seed-{seed}/step-{step}.safetensors"
        for name in CONFIG.run
        if CONFIG.experiments[name].trained
        for stage, settings in CONFIG.experiments[name].stages
        for seed in CONFIG.experiments[name].seeds.train
        for step in settings.training.keep_steps
    ]


def code_hash():
    """One hash for the VERSION of every module of etude and the bytes of the user's own."""
    modules = sorted(path.relative_to(HOME) for path in Path(HOME, "etude").rglob("*.py"))
    lines = {}
    for module in modules:
        text = Path(HOME, module).read_text(encoding="utf-8")
        if found := re.search(r"^VERSION = (\d+)", text, re.MULTILINE):
            lines[module.as_posix()] = int(found[1])
    lines |= {name: digest(name) for name in CONFIG.own_parts.values()}
    return hashlib.sha256(json.dumps(lines, sort_keys=True).encode()).hexdigest()[:16]


def environment_hash():
    """One hash for all pinned packages: of the lock, which environments under envs/ repeat."""
    return hashlib.sha256(Path(HOME, "requirements", "lock.txt").read_bytes()).hexdigest()[:16]


def of_all_runs(pattern):
    """The pattern for every experiment of the run and each of its clip sets."""
    return [
        path for name in CONFIG.run for path in collect(pattern, experiment=name, clips=draws(name))
    ]


def runnable_embeddings():
    """Configured embeddings that this environment can compute."""
    settings = CONFIG.evaluation
    return [
        label(name)
        for name in settings.embeddings
        if not registry.why_not(name, CONFIG.pretrained, fadtk=settings.fadtk)
    ]


def runnable_names():
    """The same embeddings by their names in config, a user's own as `module:Class`."""
    return [name for name in CONFIG.evaluation.embeddings if not registry.why_not(name)]


def searched_embeddings():
    """The embeddings in which memorisation is looked for: those that need no weights."""
    return list(map(label, runnable_names()))


def of_corpus_embeddings(wildcards):
    """The embeddings of the segments of an experiment's corpus."""
    pattern = "results/memorisation/{corpus}/{cut}/embeddings/{embedding}.npz"
    found = [for_experiment(pattern)(wildcards)]
    return [p.format(embedding=e) for e in searched_embeddings() for paths in found for p in paths]


def if_audio_tokens(files):
    """An input function: these files for experiments with audio tokens of ours, else nothing."""

    def wanted(wildcards):
        return files(wildcards) if experiment_of(wildcards).system == "audiolm" else []

    return wanted


def model_that_is_asked(wildcards):
    """The trained stage that is given beginnings of training items: a system's first."""
    stage = experiment_of(wildcards).stage_plans()[0].name
    return f"results/models/{wildcards.experiment}/{stage}/seed-{wildcards.seed}/model.safetensors"


def extraction_of(wildcards):
    """What a trained model said to beginnings of training items; baselines have no model."""
    if not experiment_of(wildcards).trained or wildcards.clips == "baselines":
        return []
    seed = wildcards.clips.partition("/")[0]
    return [f"results/metrics/{wildcards.experiment}/{seed}/extraction.csv"]


def histories():
    """The training histories of all experiments of the run; imported stages have none."""
    return [
        f"results/models/{name}/{stage}/seed-{seed}/history.csv"
        for name in CONFIG.run
        if CONFIG.experiments[name].trained
        for stage, settings in CONFIG.experiments[name].stages
        if not settings.imported
        for seed in CONFIG.experiments[name].seeds.train
    ]


def histories_of(wildcards):
    """The training histories of an experiment's stages, of each training seed."""
    name = f"results/models/{wildcards.experiment}/"
    return [path for path in histories() if path.startswith(name)]


def of_draws(pattern):
    """An input function: the pattern for every clip set of the experiment."""

    def files(wildcards):
        return collect(pattern, clips=draws(wildcards.experiment), allow_missing=True)

    return files


def stated_criteria():
    """The verdicts of the run's experiments that have criteria."""
    return [f"results/criteria/{name}.txt" for name in CONFIG.run if name in CONFIG.criteria]


def corpora_run():
    """The corpora of the run, each once."""
    return list(dict.fromkeys(CONFIG.experiments[name].corpus for name in CONFIG.run))


def cut_folders_run():
    """The cut folders of the run, each once."""
    pairs = {(e.corpus, e.cut_name(CONFIG)) for e in map(CONFIG.experiments.get, CONFIG.run)}
    return [
        f"results/cuts/{corpus}/{cut}/{shard}"
        for corpus, cut in sorted(pairs)
        for shard in shards_of(corpus)
    ]


def check_given(experiment):
    """See that what an experiment takes over from elsewhere is there."""
    tokens = CONFIG.tokens[experiment.tokens]
    roles = (getattr(tokens, role, None) for role in ("semantic", "acoustic", "tokenizer"))
    for tokenizer in filter(None, roles):
        given_tokenizer.check_fitted(CONFIG.tokenizers[tokenizer].fit)
    if not experiment.trained:
        return
    for stage, settings in experiment.stages:
        for seed in experiment.seeds.train:
            given_weights.check_weights(settings.weights, stage, seed, CONFIG.experiments)


def to_bring():
    """What the run needs and a user has to bring by hand, as errors; empty when all is there."""
    found = []
    for name in corpora_run():
        corpus = CONFIG.corpora[name]
        if paths := sources.to_bring(corpus):
            found.append(sources.bring_error(f"the corpus {name!r}", paths, corpus.bring))
    for name in weights_run():
        weights = CONFIG.pretrained[name]
        if weights.bring and weights.path and not weights.path.exists():
            what = f"pretrained part {name!r}"
            found.append(sources.bring_error(f"the {what}", [weights.path], weights.bring))
    return found


def weights_run():
    """The pretrained weights that the run's tokenizers and embeddings name, each once."""
    names = [name for name in CONFIG.evaluation.embeddings if name in CONFIG.pretrained]
    for experiment in map(CONFIG.experiments.get, CONFIG.run):
        tokens = CONFIG.tokens[experiment.tokens]
        for role in ("semantic", "acoustic"):
            tokenizer = CONFIG.tokenizers.get(getattr(tokens, role, None))
            names += [getattr(tokenizer, key, None) for key in ("model", "centres")]
    return [name for name in dict.fromkeys(names) if name in CONFIG.pretrained]


def stop_without_what_to_bring():
    """Called when jobs are about to start, which a dry run never is."""
    if lacking := to_bring():
        raise WorkflowError("\n".join(map(str, lacking)))


def stop_without_the_library():
    """As the jobs would, one after the other; with conda they have an environment that has it."""
    method = workflow.deployment_settings.deployment_method
    chosen = [(job.rule.conda_env, job.wildcards) for job in workflow.dag.needrun_jobs()]
    if DeploymentMethod.CONDA in method or not any(
        Path(env(wildcards)).stem == "audiolm" for env, wildcards in chosen if callable(env)
    ):
        return
    try:
        audiolm_release.check_installed()
    except UserError as error:
        raise WorkflowError(str(error))


# A folder or file that is not there is said at once, not from within the planning of a job.
if workflow.is_main_process:
    etude.runs.tell_if_alive()
    try:
        check_folder(Path("results"))
        for name in corpora_run():
            sources.check_files(CONFIG.corpora[name])
        for name in CONFIG.run:
            check_given(CONFIG.experiments[name])
    except UserError as error:
        raise WorkflowError(str(error))
    for lacking in to_bring():  # a plan can be made without it
        logger.warning(str(lacking))
    for name in corpora_run():
        if CONFIG.corpora[name].source == "folder" and not sources.to_bring(CONFIG.corpora[name]):
            scanned(name)
