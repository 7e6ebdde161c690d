# What the rules share: the checked configuration, names for wildcards, the plan, hooks.
# What the plan answers is in etude/workflow/, typed and tested without Snakemake.

import functools
import json
import re
import sys
from pathlib import Path

# Étude's own folder, also where another Snakefile includes this one.
HOME = Path(workflow.current_basedir).parent
sys.path.insert(0, str(HOME))

import etude.config
import etude.runs
from etude.corpus import consent, forecast, scan, withdrawn
from etude.errors import UserError
from etude.plugins import plugin_label
from etude.withdrawal import removal
from etude.workflow import extras, needs, sources
from etude.workflow import imported_tokenizers as given_tokenizer
from etude.workflow.data import share
from etude.workflow.plan import Plan
from etude.workflow.versions import Versions, code_hash, environment_hash
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

# In another workflow (`module … config: …`) what that hands over counts; what was typed is its own.
typed, by_hand = workflow.config_settings, workflow.modifier.skip_configfile
FILES, OVER = ([], config) if by_hand else (typed.configfiles, typed.config)
try:  # read as `python -m etude` reads it: one way of merging, one of checking
    CONFIG = etude.config.read(etude.config.DEFAULT, *FILES, overrides=OVER)
except UserError as error:
    raise WorkflowError(str(error))

plan = Plan(CONFIG)
version = Versions(CONFIG)

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
    stage=either(plan.stages),
    seed=r"\d+",
    draw=r"\d+",
    step=r"\d+",
    pretrained=either(CONFIG.pretrained),
    clips=r"baselines|seed-\d+/draw-\d+",
    embedding=either(map(plugin_label, CONFIG.evaluation.embeddings)),


# Names that stand in many rules.
corpus_of, experiment_of, stage_of = plan.corpus_of, plan.experiment_of, plan.stage_of
cut_of_experiment, source_folder = plan.cut_of_experiment, plan.source_folder
per_shard, fit_shards, of_draws = plan.per_shard, plan.fit_shards, plan.of_draws
for_experiment, trained_here = plan.for_experiment, plan.trained_here
tokenizer_of, weights_of, of_all_runs = plan.tokenizer_of, plan.weights_of, plan.of_all_runs
embedding_of = version.embedding


# Trainings are the longest jobs. What leads to one goes first, so that the many short ones fill the
# cores beside it and none is left to run alone at the end.
FIRST = 1


def sharing(most, jobs):
    """A `threads` function: jobs that can run side by side share the cores of one machine."""

    def threads(wildcards):
        cores = workflow.resource_settings.cores
        here = workflow.is_main_process and workflow.local_exec and cores
        return share(cores, jobs(wildcards), most) if here else most

    return threads


def system_env(wildcards):
    """A conda function: the environment of an experiment's networks, or of those of a stage."""
    return f"../envs/{plan.env_of(wildcards)}.yaml"


def verified_embeddings(wildcards):
    """The proofs that embeddings work; how old they are does not matter."""
    return list(map(ancient, plan.verified_embeddings(wildcards)))


def verified_embedding(wildcards):
    """The proof that one works."""
    return list(map(ancient, plan.verified_embedding(wildcards)))


def verified_reading_clap(wildcards):
    """The proof that the CLAP works by which learned words are described."""
    return list(map(ancient, plan.verified_reading_clap(wildcards)))


def verified_texts(wildcards):
    """The proof that a stage's pretrained weights know words."""
    return list(map(ancient, plan.verified_texts(wildcards)))


def scan_digest(wildcards):
    """Changes when a user's own file does: of a shard for ingest, any where the folder is copied."""
    corpus, shard = corpus_of(wildcards), wildcards.get("shard")
    here = workflow.is_main_process and sources.read_where_they_lie(corpus)
    if not here or sources.to_bring(corpus):
        return ""
    if sources.is_fetched(corpus):
        return "" if shard else "".join(scanned(wildcards.corpus))
    return scanned(wildcards.corpus)[int(shard)] if shard else ""


@functools.cache
def scanned(name):
    """A digest per shard of a user's own folder; one of what a source of her own reads."""
    corpus = CONFIG.corpora[name]
    try:
        if corpus.source != "folder":
            return [scan.digest_of(sources.read_where_they_lie(corpus))]
        out = withdrawn.left_out(corpus, corpus.path)
        return scan.digests(corpus.path, *sources.scanned_as(corpus), out)
    except UserError as error:
        raise WorkflowError(str(error))


def withdrawals(wildcards):
    """For a `version`: changes with the files that were withdrawn, and is nothing without any."""
    return withdrawn.version_of(corpus_of(wildcards))


# ----------------------------------------------------------------------------------- what stops


def stop_without_what_to_bring():
    """Called when jobs are about to start, which a dry run never is."""
    if lacking := needs.to_bring(CONFIG):
        raise WorkflowError("\n".join(map(str, lacking)))


def stop_without_extras():
    """As the jobs would, one after the other; with conda they have environments of their own."""
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        return
    chosen = [(job.rule.conda_env, job.wildcards) for job in workflow.dag.needrun_jobs()]
    names = {Path(env(wildcards)).stem for env, wildcards in chosen if callable(env)}
    try:
        for name in sorted(names):
            extras.check_installed(name)
    except UserError as error:
        raise WorkflowError(str(error))


def forget_withdrawn():
    """Delete what knew a file whose owner took the consent back, before anything else is made."""
    if not workflow.is_main_process:
        return
    try:
        said = removal.carry_out(CONFIG)
    except UserError as error:
        raise WorkflowError(str(error))
    if said:
        logger.warning("\n".join(said))
    kept = (job for job in workflow.dag.jobs if not workflow.dag.needrun(job))
    if said and not all(Path(str(file)).exists() for job in kept for file in job.output):
        raise WorkflowError("That was more than this run had planned for: start it again.")


# A folder or file that is not there is said at once, not from within the planning of a job.
if workflow.is_main_process:
    etude.runs.tell_if_alive()
    try:
        needs.check_needs(CONFIG)
        consent.check_run(CONFIG)
    except UserError as error:
        raise WorkflowError(str(error))
    for note in [*needs.to_bring(CONFIG), *needs.downloads(CONFIG)]:  # one can plan without
        logger.warning(str(note))
    for name in plan.corpora_run():
        mine = sources.read_where_they_lie(CONFIG.corpora[name])
        if mine and not sources.to_bring(CONFIG.corpora[name]):
            scanned(name)
