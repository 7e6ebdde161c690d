# A trained experiment -> clips; clips that somebody else made; what both are compared with.


rule generate_clips:
    input:
        models=plan.models_of,
        tokenizers=lambda w: list(plan.tokenizers_of(w).values()),
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        latents=plan.latents_that_play,
        captions=plan.captions_of,
        owners=plan.owners_of,
        primes=lambda w: experiment_of(w).generate.primes,
        soundfont=plan.soundfont_of,
    output:
        folder=directory("results/clips/{experiment}/seed-{seed}/draw-{draw}"),
    log:
        "results/logs/generate_clips/{experiment}/seed-{seed}/draw-{draw}.log",
    benchmark:
        "results/benchmarks/generate_clips/{experiment}/seed-{seed}/draw-{draw}.tsv"
    wildcard_constraints:
        experiment=either(plan.having("trained")),
    priority: FIRST
    conda:
        system_env
    threads: sharing(8, plan.draws_together)
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=1,
    params:
        version=version("generate_clips", what="generate"),
        experiment=lambda w: experiment_of(w).generate_params(),
        roles=lambda w: list(plan.tokenizers_of(w)),  # of the inputs, in their order
        corpus=plan.rendering_of,
    message:
        "Generating clips of {wildcards.experiment}, seed {wildcards.seed}, draw {wildcards.draw}"
    script:
        "../scripts/generate_clips.py"


rule import_clips:
    input:
        pieces=for_experiment("results/corpora/{corpus}/pieces.csv"),
        soundfont=plan.soundfont_of,
    output:
        folder=directory("results/clips/{experiment}/seed-{seed}/draw-{draw}"),
    log:
        "results/logs/import_clips/{experiment}/seed-{seed}/draw-{draw}.log",
    benchmark:
        "results/benchmarks/import_clips/{experiment}/seed-{seed}/draw-{draw}.tsv"
    wildcard_constraints:
        experiment=either(CONFIG.experiments.keys() - plan.having("trained")),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version("import_clips", what="generate"),
        experiment=lambda w: experiment_of(w).params(),
        cut=lambda w: cut_of_experiment(w).params(),
        digest=lambda w: scan.digests(experiment_of(w).clips, 1)[0],
        corpus=plan.rendering_of,
    message:
        "Reading the clips of {wildcards.experiment} that somebody else made"
    script:
        "../scripts/import_clips.py"


rule make_baselines:
    input:
        pieces=for_experiment("results/corpora/{corpus}/pieces.csv"),
        wav=for_experiment("results/corpora/{corpus}/wav/{shard}"),
        cuts=for_experiment("results/cuts/{corpus}/{cut}/{shard}"),
        packed=trained_here("results/packed/{corpus}/{tokens}"),
        tokenizers=lambda w: list(plan.tokenizers_of(w).values()),
        models=plan.models_of_baselines,
        latents=plan.latents_of_baselines,
        captions=plan.captions_of,
        # Random notes have the keys and rhythms of the training split's files.
        source=lambda w: source_folder(experiment_of(w)),
        ingest=for_experiment("results/corpora/{corpus}/ingest/{shard}.csv"),
        soundfont=plan.corpus_soundfont_of,
    output:
        folder=directory("results/clips/{experiment}/baselines"),
    log:
        "results/logs/make_baselines/{experiment}.log",
    benchmark:
        "results/benchmarks/make_baselines/{experiment}.tsv"
    conda:
        system_env
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=1,
    params:
        version=version(
            "make_baselines",
            *("dumb", "dumb_notes", "dumb_sound", "activations", "notes", "render"),
            what="baselines",
        ),
        experiment=lambda w: experiment_of(w).untrained_params(),
        cut=lambda w: cut_of_experiment(w).params(),
        roles=lambda w: list(plan.tokenizers_of(w)),  # of the inputs, in their order
        corpus=lambda w: CONFIG.corpora[experiment_of(w).corpus].params("filter", "render"),
        # A user's own folder is no input; with `input`, Snakemake does not compare it.
        root=lambda w, input: input.get("source")
        or str(CONFIG.corpora[experiment_of(w).corpus].path),
        seed=CONFIG.evaluation.seed,
    message:
        "Making the clips that {wildcards.experiment} is compared with"
    script:
        "../scripts/make_baselines.py"
