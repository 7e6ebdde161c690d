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
# A folder, an archive or music21 -> one table of pieces; their split; their audio.
include: "rules/corpus.smk"
# Audio -> segments -> tokens -> packed training data.
include: "rules/tokens.smk"
# Packed tokens -> three transformers -> clips.
include: "rules/audiolm.smk"
# Clips, real and generated -> embeddings -> distances -> results/fad.txt.
include: "rules/evaluation.smk"
# Clips, searched in the training music; planted copies say what would be found.
include: "rules/memorisation.smk"
# Everything -> one page.
include: "rules/report.smk"


onstart:
    etude.runs.record_main()


onsuccess:
    etude.runs.forget_main()


onerror:
    etude.runs.forget_main()


rule all:
    default_target: True
    input:
        "results/fad.txt",
        "results/report/index.html",
        of_all_runs("results/metrics/{experiment}/{clips}/memorisation.csv"),
        kept_steps(),
    localrule: True
