# Étude: from a folder of MIDI or audio to trained music generators and a table one can trust.
#
#   source --> ingest --> split ------------------------------+
#                |                                            |
#                +--> WAV --> cuts --> tokens --> packed <----+
#                              |         ^          |
#                              +--> tokenizers      +--> stages --> clips --> metrics --> report
#
# Each arrow is a rule, in the file that bears its topic; each rule has a script of its name in
# scripts/, which hands over to the etude package. Keys of config: config/README.md.

import os
from snakemake.utils import min_version

min_version("9.12")


configfile: os.path.join(workflow.current_basedir, "config", "config.yaml")


# Paths, wildcard constraints, input functions.
include: "rules/common.smk"
# Who owns a corpus, and what each has agreed to.
include: "rules/ownership.smk"
# A folder, an archive or music21 -> one table of pieces; their split; their audio.
include: "rules/corpus.smk"
# Weights that others trained, and the proof that they work.
include: "rules/pretrained.smk"
# Audio -> segments -> tokens -> packed training data.
include: "rules/tokens.smk"
# Packed tokens -> trained stages, of whichever system.
include: "rules/training.smk"
# MIDI -> symbolic tokens -> packed training data.
include: "rules/symbolic.smk"
# Trained stages, of whichever system -> clips; what clips are compared with.
include: "rules/generation.smk"
# Clips, real and generated -> embeddings -> distances.
include: "rules/evaluation.smk"
# Clips, searched in the training music; planted copies say what would be found; where to stop.
include: "rules/memorisation.smk"
include: "rules/over_steps.smk"
# The notes of clips -> distances from held-out music, perplexity.
include: "rules/symbolic_metrics.smk"
# What the results are made of; after a failure, the table of what is complete.
include: "rules/complete.smk"
# Distances of all experiments -> results/leaderboard.csv, results/fad.txt.
include: "rules/results.smk"
# What an experiment was wanted to reach -> whether it did.
include: "rules/criteria.smk"
# Everything -> one page.
include: "rules/report.smk"


onstart:
    stop_without_what_to_bring()
    stop_without_extras()
    forget_withdrawn()
    etude.runs.record_main(remote=not workflow.local_exec)
    forecast.announce(CONFIG, tell=logger.warning)


onsuccess:
    etude.runs.forget_main()


onerror:
    etude.runs.forget_main()
    write_what_is_there()


rule all:
    default_target: True
    input:
        "results/fad.txt",
        "results/report/index.html",
        plan.kept_steps(),
        plan.symbolic_tables(),
        plan.stated_criteria(),
    localrule: True
