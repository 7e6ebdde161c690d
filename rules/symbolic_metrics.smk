# Clips with notes -> shares, harmony, features -> results/metrics/{experiment}/{clips}/symbolic.csv.


rule train_word2vec:
    input:
        source=source_folder,
        ingest=per_shard("results/corpora/{corpus}/ingest/{shard}.csv"),
        pieces="results/corpora/{corpus}/pieces.csv",
    output:
        vectors="results/corpora/{corpus}/harmony.w2v.txt",
        changes="results/corpora/{corpus}/chord_changes.csv",
    log:
        "results/logs/train_word2vec/{corpus}.log",
    benchmark:
        "results/benchmarks/train_word2vec/{corpus}.tsv"
    conda:
        "../envs/harmony.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        version=version(
            "train_word2vec",
            *("notes.word2vec", "notes.harmony", "notes.chord_changes", "notes.counterpoint"),
            "notes",
        ),
        settings=CONFIG.evaluation.symbolic.word2vec.params(),
        # A user's own folder is no input; with `input`, Snakemake does not compare it.
        root=lambda w, input: input.get("source") or str(corpus_of(w).path),
    message:
        "Learning the harmony of {wildcards.corpus}'s training split"
    script:
        "../scripts/train_word2vec.py"


rule measure_symbolic:
    input:
        clips="results/clips/{experiment}/{clips}",
        # Real clips are stretches of pieces, and their notes stand in the pieces' files.
        source=lambda w: source_folder(experiment_of(w)),
        ingest=for_experiment("results/corpora/{corpus}/ingest/{shard}.csv"),
    output:
        clips="results/metrics/{experiment}/{clips}/symbolic_clips.json",
    log:
        "results/logs/measure_symbolic/{experiment}/{clips}.log",
    benchmark:
        "results/benchmarks/measure_symbolic/{experiment}/{clips}.tsv"
    wildcard_constraints:
        experiment=either(plan.making("notes")),
    conda:
        "../envs/harmony.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version(
            "measure_symbolic",
            *("notes.measure", "notes.clips", "notes.counts"),
            *("notes.features", "notes.harmony", "notes.structure", "notes.counterpoint"),
            *("notes.recurrence", "notes.whole_bars", "clip_sets", "notes"),
        ),
        settings=CONFIG.evaluation.symbolic.measuring(),
        prompted=lambda w: experiment_of(w).generate.prompted,
        root=lambda w, input: input.get("source")
        or str(CONFIG.corpora[experiment_of(w).corpus].path),
    message:
        "Measuring the notes of {wildcards.experiment} ({wildcards.clips})"
    script:
        "../scripts/measure_symbolic.py"


rule score_symbolic:
    input:
        generated="results/metrics/{experiment}/{clips}/symbolic_clips.json",
        baselines="results/metrics/{experiment}/baselines/symbolic_clips.json",
        vectors=for_experiment("results/corpora/{corpus}/harmony.w2v.txt"),
        changes=for_experiment("results/corpora/{corpus}/chord_changes.csv"),
        packed=trained_here("results/packed/{corpus}/{tokens}"),
    output:
        table=report(
            "results/metrics/{experiment}/{clips}/symbolic.csv",
            caption="../docs/captions/symbolic.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "symbolic"},
        ),
        replicates="results/metrics/{experiment}/{clips}/symbolic_replicates.csv",
        figures=report(
            directory("results/metrics/{experiment}/{clips}/symbolic"),
            patterns=["{figure}.svg", "{figure}.png"],
            caption="../docs/captions/symbolic.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "{figure}"},
        ),
    log:
        "results/logs/score_symbolic/{experiment}/{clips}.log",
    benchmark:
        "results/benchmarks/score_symbolic/{experiment}/{clips}.tsv"
    wildcard_constraints:
        experiment=either(plan.making("notes")),
    conda:
        "../envs/harmony.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version(
            "score_symbolic",
            *("notes.score", "notes.table", "notes.divergence"),
            *("notes.overlap", "notes.frechet", "notes.means", "frechet"),
        ),
        experiment=lambda w: experiment_of(w).params(),
        settings=CONFIG.evaluation.symbolic.scoring(),
    message:
        "Comparing the notes of {wildcards.experiment} ({wildcards.clips}) with held-out music"
    script:
        "../scripts/score_symbolic.py"


rule score_latents:
    input:
        clips="results/clips/{experiment}/seed-{seed}/draw-{draw}",
        baselines="results/clips/{experiment}/baselines",
        models=plan.encoding_models,
        latents=plan.upstream_latents,
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        tokenizers=plan.tokenizer_folders,
        # Real clips are stretches of pieces, and their notes stand in the pieces' files.
        source=lambda w: source_folder(experiment_of(w)),
        ingest=for_experiment("results/corpora/{corpus}/ingest/{shard}.csv"),
    output:
        table=report(
            "results/metrics/{experiment}/seed-{seed}/draw-{draw}/latents.csv",
            caption="../docs/captions/latents.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"clips": "seed-{seed}/draw-{draw}", "table": "latents"},
        ),
        replicates="results/metrics/{experiment}/seed-{seed}/draw-{draw}/latents_replicates.csv",
    log:
        "results/logs/score_latents/{experiment}/seed-{seed}/draw-{draw}.log",
    benchmark:
        "results/benchmarks/score_latents/{experiment}/seed-{seed}/draw-{draw}.tsv"
    wildcard_constraints:
        experiment=either(plan.having("latent_space")),
    conda:
        system_env
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=1,
    params:
        version=version(
            "score_latents",
            *("latents", "distances", "samples", "frechet", "space", "kad", "kad_clips"),
            *("notes.clips", "notes.whole_bars", "clip_sets", "notes"),
            what="encode",
        ),
        experiment=lambda w: experiment_of(w).params(),
        roles=plan.roles_of,
        settings=CONFIG.evaluation.symbolic.of_latents(),
        root=lambda w, input: input.get("source")
        or str(CONFIG.corpora[experiment_of(w).corpus].path),
    message:
        "Distances in the latent space of {wildcards.experiment}, seed {wildcards.seed}, "
        "draw {wildcards.draw}"
    script:
        "../scripts/score_latents.py"


rule score_perplexity:
    input:
        models=plan.queried_model,
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        tokenizers=lambda w: list(plan.tokenizers_of(w).values()),
    output:
        table="results/metrics/{experiment}/seed-{seed}/perplexity.csv",
        replicates="results/metrics/{experiment}/seed-{seed}/perplexity_replicates.csv",
    log:
        "results/logs/score_perplexity/{experiment}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/score_perplexity/{experiment}/seed-{seed}.tsv"
    wildcard_constraints:
        experiment=either(plan.having("likelihood")),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=1,
    params:
        version=version("score_perplexity", what="likelihood"),
        experiment=lambda w: experiment_of(w).params(),
        roles=lambda w: list(plan.tokenizers_of(w)),  # of the inputs, in their order
        settings=CONFIG.evaluation.symbolic.params("perplexity_windows", "replicates"),
    message:
        "Perplexity of {wildcards.experiment}, seed {wildcards.seed}, on held-out music"
    script:
        "../scripts/score_perplexity.py"
