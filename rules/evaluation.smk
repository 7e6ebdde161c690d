# Clips, real and generated -> embeddings -> distances.


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
        embedding=either(plan.embeddings_by("here")),
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        version=version("embed_clips", version.of_embedding),
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
        version=version("measure_clips", "signals", "loudness", own=CONFIG.evaluation.signals),
        signals=CONFIG.evaluation.signals,
        options=CONFIG.evaluation.options,
        rate=lambda w: cut_of_experiment(w).rate,
    message:
        "Measuring harmony and level of {wildcards.experiment} ({wildcards.clips})"
    script:
        "../scripts/measure_clips.py"


rule score_concepts:
    input:
        models=plan.models_of,
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        tokenizers=lambda w: list(plan.tokenizers_of(w).values()),
        captions=plan.captions_of,
        clap=plan.reading_clap(),
        verified=verified_reading_clap,
    output:
        table=report(
            "results/metrics/{experiment}/seed-{seed}/concept.csv",
            caption="../docs/captions/concepts.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "seed-{seed}", "table": "concepts"},
        ),
    log:
        "results/logs/score_concepts/{experiment}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/score_concepts/{experiment}/seed-{seed}.tsv"
    wildcard_constraints:
        experiment=either(plan.having("judges_concepts")),
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=1,
    params:
        version=version(
            "score_concepts",
            *("concepts", "frechet", "space", "embedding.clap", "embedding.timbre", "loudness"),
            *("distances", "samples", "kad", "kad_clips", "mad"),
            version.of_primary,
            what="concepts",
        ),
        experiment=lambda w: experiment_of(w).params(),
        roles=lambda w: list(plan.tokenizers_of(w)),  # of the inputs, in their order
        settings=CONFIG.evaluation.concepts.params(),
        primary=[CONFIG.evaluation.primary.metric, CONFIG.evaluation.primary_embedding],
        options=CONFIG.evaluation.options,
    message:
        "What the words of {wildcards.experiment} are worth, seed {wildcards.seed}"
    script:
        "../scripts/score_concepts.py"


rule score_fad:
    input:
        generated=collect(
            "results/embeddings/{{experiment}}/{{clips}}/{embedding}.npz",
            embedding=plan.runnable_embeddings,
        ),
        baselines=collect(
            "results/embeddings/{{experiment}}/baselines/{embedding}.npz",
            embedding=plan.runnable_embeddings,
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
        rivals=report(
            "results/metrics/{experiment}/{clips}/rivals.csv",
            caption="../docs/captions/rivals.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "rivals"},
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
            "score_fad",
            *("score", "distances", "samples", "space", "frechet"),
            *("kad", "kad_clips", "mad", "rivals"),
            own=CONFIG.evaluation.distances,
        ),
        experiment=lambda w: experiment_of(w).params(),
        embeddings=CONFIG.evaluation.embeddings,
        gated=CONFIG.evaluation.gate_embeddings,
        rivals=lambda w: list(experiment_of(w).rivals),
        distances=CONFIG.evaluation.distances,
        signals=CONFIG.evaluation.signals,
        options=CONFIG.evaluation.options,
    message:
        "Distances of {wildcards.experiment} ({wildcards.clips}): Fréchet, KAD, MAD"
    script:
        "../scripts/score_fad.py"
