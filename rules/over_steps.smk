# Earlier steps of a training -> their clips, distances and copies: where to stop. Off by default.


rule clips_over_steps:
    input:
        kept=plan.kept_for_checkpoints,
        models=plan.of_first(plan.models_of),
        tokenizers=plan.tokenizer_folders,
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        latents=plan.of_first(plan.latents_that_play),
        captions=plan.captions_of,
        owners=plan.owners_of,
        primes=lambda w: experiment_of(w).generate.primes,
        soundfont=plan.soundfont_of,
    output:
        folder=directory("results/clips/{experiment}/over_steps"),
    log:
        "results/logs/clips_over_steps/{experiment}.log",
    benchmark:
        "results/benchmarks/clips_over_steps/{experiment}.tsv"
    wildcard_constraints:
        experiment=either(plan.measured_over_steps),
    conda:
        system_env
    threads: sharing(8, plan.draws_together)
    resources:
        mem_mb=8000,
        runtime=480,
        gpu=1,
    params:
        version=version("clips_over_steps", "clips_over_steps", what="generate"),
        experiment=lambda w: experiment_of(w).generate_params(),
        roles=plan.roles_of,
        corpus=plan.rendering_of,
        checkpoints=plan.earlier_checkpoints,
        seed=lambda w: plan.first_seeds(w)[0],
        draw=lambda w: plan.first_seeds(w)[1],
    message:
        "Clips of {wildcards.experiment} at earlier steps of its training"
    script:
        "../scripts/clips_over_steps.py"


rule measure_over_steps:
    input:
        source=lambda w: source_folder(experiment_of(w)),
        clips="results/clips/{experiment}/over_steps",
        end=plan.of_first("results/clips/{experiment}/{clips}"),
        end_embedded=plan.of_first(
            f"results/embeddings/{{experiment}}/{{clips}}/{plan.label_over_steps}.npz"
        ),
        baselines=f"results/embeddings/{{experiment}}/baselines/{plan.label_over_steps}.npz",
        pieces=for_experiment("results/corpora/{corpus}/pieces.csv"),
        wav=for_experiment("results/corpora/{corpus}/wav/{shard}"),
        catalogue=for_experiment("results/memorisation/{corpus}/{cut}/catalogue"),
        packed=trained_here("results/packed/{corpus}/{tokens}"),
    output:
        table=report(
            "results/metrics/{experiment}/over_steps.csv",
            caption="../docs/captions/over_steps.rst",
            category="Training",
            labels={"experiment": "{experiment}", "table": "where to stop"},
        ),
    log:
        "results/logs/measure_over_steps/{experiment}.log",
    benchmark:
        "results/benchmarks/measure_over_steps/{experiment}.tsv"
    wildcard_constraints:
        experiment=either(plan.measured_over_steps),
    conda:
        "../envs/memorisation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        version=version(
            "measure_over_steps",
            *("over_steps", "distances", "samples", "space", "kad", "kad_clips", "clip_sets"),
            *("memorisation.find", "memorisation.sequences", "memorisation.notes"),
            lambda w: version.of_embedding_named(plan.embedding_over_steps),
        ),
        experiment=lambda w: experiment_of(w).params(),
        checkpoints=plan.checkpoints_of,
        cut=lambda w: cut_of_experiment(w).params(),
        settings=SETTINGS.params("null_clips"),
        seeds=lambda w: list(plan.first_seeds(w)),
        seed=CONFIG.evaluation.seed,
        embedding=plan.embedding_over_steps,
        options=CONFIG.evaluation.options,
        root=lambda w, input: input.get("source") or str(corpus_of(experiment_of(w)).path),
    message:
        "Distance and copies of {wildcards.experiment} over the steps of its training"
    script:
        "../scripts/measure_over_steps.py"
