# Clips, real and generated -> embeddings -> distances.


rule import_clips:
    input:
        pieces=for_experiment("results/corpora/{corpus}/pieces.csv"),
    output:
        folder=directory("results/clips/{experiment}/seed-{seed}/draw-{draw}"),
    log:
        "results/logs/import_clips/{experiment}/seed-{seed}/draw-{draw}.log",
    benchmark:
        "results/benchmarks/import_clips/{experiment}/seed-{seed}/draw-{draw}.tsv"
    wildcard_constraints:
        experiment=either(name for name, e in CONFIG.experiments.items() if not e.trained),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version("systems/external/importing"),
        experiment=lambda w: experiment_of(w).params(),
        cut=lambda w: cut_of_experiment(w).params(),
        digest=lambda w: scan.digests(experiment_of(w).clips, 1)[0],
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
        semantic=trained_here("{semantic}"),
        acoustic=trained_here("{acoustic}"),
        tokenizer=trained_here("{tokenizer}"),
    output:
        folder=directory("results/clips/{experiment}/baselines"),
    log:
        "results/logs/make_baselines/{experiment}.log",
    benchmark:
        "results/benchmarks/make_baselines/{experiment}.tsv"
    conda:
        with_library("../envs/torch.yaml")
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=1,
    params:
        version=version_of_system("baselines"),
        experiment=lambda w: experiment_of(w).untrained_params(),
        cut=lambda w: cut_of_experiment(w).params(),
        # Symbolic clips are rendered as their corpus is.
        corpus=lambda w: rendering_of(experiment_of(w)),
        seed=CONFIG.evaluation.seed,
    message:
        "Making the clips that {wildcards.experiment} is compared with"
    script:
        "../scripts/make_baselines.py"


rule embed_clips:
    input:
        clips="results/clips/{experiment}/{clips}",
    output:
        table="results/embeddings/{experiment}/{clips}/{embedding}.npz",
    log:
        "results/logs/embed_clips/{experiment}/{clips}/{embedding}.log",
    benchmark:
        "results/benchmarks/embed_clips/{experiment}/{clips}/{embedding}.tsv"
    wildcard_constraints:
        embedding=either(
            label(n) for n in CONFIG.evaluation.embeddings if n in registry.EMBEDDINGS or is_own(n)
        ),
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        version=version_of_embedding,
        embedding=embedding_of,
        options=CONFIG.evaluation.options,
        rate=lambda w: cut_of_experiment(w).rate,
    message:
        "Embedding {wildcards.experiment} ({wildcards.clips}) with {wildcards.embedding}"
    script:
        "../scripts/embed_clips.py"


rule measure_clips:
    input:
        clips="results/clips/{experiment}/{clips}",
    output:
        signals=report(
            "results/metrics/{experiment}/{clips}/signals.csv",
            caption="../docs/captions/signals.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "signals"},
        ),
    log:
        "results/logs/measure_clips/{experiment}/{clips}.log",
    benchmark:
        "results/benchmarks/measure_clips/{experiment}/{clips}.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version("metrics/signals", own=CONFIG.evaluation.signals),
        signals=CONFIG.evaluation.signals,
        options=CONFIG.evaluation.options,
        rate=lambda w: cut_of_experiment(w).rate,
    message:
        "Measuring harmony and level of {wildcards.experiment} ({wildcards.clips})"
    script:
        "../scripts/measure_clips.py"


rule score_fad:
    input:
        generated=collect(
            "results/embeddings/{{experiment}}/{{clips}}/{embedding}.npz",
            embedding=runnable_embeddings(),
        ),
        baselines=collect(
            "results/embeddings/{{experiment}}/baselines/{embedding}.npz",
            embedding=runnable_embeddings(),
        ),
        signals="results/metrics/{experiment}/{clips}/signals.csv",
        baseline_signals="results/metrics/{experiment}/baselines/signals.csv",
        notes="results/clips/{experiment}/baselines",
        packed=trained_here("results/packed/{corpus}/{tokens}"),
    output:
        table=report(
            "results/metrics/{experiment}/{clips}/fad.csv",
            caption="../docs/captions/scores.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "scores"},
        ),
        replicates=report(
            "results/metrics/{experiment}/{clips}/replicates.csv",
            caption="../docs/captions/replicates.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "replicates"},
        ),
        per_clip=report(
            "results/metrics/{experiment}/{clips}/per_clip.csv",
            caption="../docs/captions/per_clip.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "per_clip"},
        ),
    log:
        "results/logs/score_fad/{experiment}/{clips}.log",
    benchmark:
        "results/benchmarks/score_fad/{experiment}/{clips}.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        version=version(
            *("metrics/score", "metrics/distances", "metrics/samples"),
            *("metrics/frechet", "metrics/kad", "metrics/mad"),
        ),
        experiment=lambda w: experiment_of(w).params(),
        embeddings=CONFIG.evaluation.embeddings,
        signals=CONFIG.evaluation.signals,
        options=CONFIG.evaluation.options,
    message:
        "Distances of {wildcards.experiment} ({wildcards.clips}): Fréchet, KAD, MAD"
    script:
        "../scripts/score_fad.py"
