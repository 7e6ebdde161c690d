# Clips, searched in the training music: a ladder whose recall is measured with planted copies.

SETTINGS = CONFIG.evaluation.memorisation


rule catalogue_corpus:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        wav=per_shard("results/corpora/{corpus}/wav/{shard}"),
        cuts=per_shard("results/cuts/{corpus}/{cut}/{shard}"),
    output:
        folder=directory("results/memorisation/{corpus}/{cut}/catalogue"),
    log:
        "results/logs/catalogue_corpus/{corpus}/{cut}.log",
    benchmark:
        "results/benchmarks/catalogue_corpus/{corpus}/{cut}.tsv"
    conda:
        "../envs/memorisation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        version=version(
            "catalogue_corpus",
            *("memorisation.reference", "memorisation.catalogue"),
            *("memorisation.fingerprint", "memorisation.exact", "memorisation.chroma"),
            "activations",
        ),
        cut=lambda w: CONFIG.cuts[w.cut].params(),
    message:
        "Fingerprints of the training split of {wildcards.corpus} ({wildcards.cut})"
    script:
        "../scripts/catalogue_corpus.py"


rule embed_corpus:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        wav=per_shard("results/corpora/{corpus}/wav/{shard}"),
        cuts=per_shard("results/cuts/{corpus}/{cut}/{shard}"),
    output:
        table="results/memorisation/{corpus}/{cut}/embeddings/{embedding}.npz",
    log:
        "results/logs/embed_corpus/{corpus}/{cut}/{embedding}.log",
    benchmark:
        "results/benchmarks/embed_corpus/{corpus}/{cut}/{embedding}.tsv"
    conda:
        "../envs/memorisation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=1,
    params:
        version=version("embed_corpus", version.of_embedding),
        embedding=embedding_of,
        options=CONFIG.evaluation.options,
        rate=lambda w: CONFIG.cuts[w.cut].rate,
    message:
        "Embedding {wildcards.corpus} ({wildcards.cut}) with {wildcards.embedding}"
    script:
        "../scripts/embed_corpus.py"


rule study_memorisation:
    input:
        source=source_folder,
        pieces="results/corpora/{corpus}/pieces.csv",
        wav=per_shard("results/corpora/{corpus}/wav/{shard}"),
        catalogue="results/memorisation/{corpus}/{cut}/catalogue",
        embeddings=collect(
            "results/memorisation/{corpus}/{cut}/embeddings/{embedding}.npz",
            embedding=plan.searched_embeddings,
            allow_missing=True,
        ),
    output:
        table="results/memorisation/{corpus}/{cut}/recall.csv",
    log:
        "results/logs/study_memorisation/{corpus}/{cut}.log",
    benchmark:
        "results/benchmarks/study_memorisation/{corpus}/{cut}.tsv"
    conda:
        "../envs/memorisation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        version=version(
            "study_memorisation",
            *("memorisation.attacks", "memorisation.recall", "memorisation.waveform"),
            *("memorisation.notes", "memorisation.neighbours", "memorisation.sequences"),
            *("memorisation.melody", "memorisation.bar_runs", "memorisation.tunes"),
            *("memorisation.chroma", "activations", "notes.whole_bars"),
        ),
        corpus=lambda w: corpus_of(w).params(),
        cut=lambda w: CONFIG.cuts[w.cut].params(),
        settings=SETTINGS.params("null_clips", "planted", "embedded", "soundfont"),
        seed=CONFIG.evaluation.seed,
        embeddings=plan.plugin_embeddings,
        options=CONFIG.evaluation.options,
        root=lambda w, input: input.get("source") or str(corpus_of(w).path),
    message:
        "Planting copies of {wildcards.corpus} ({wildcards.cut}): what would be found?"
    script:
        "../scripts/study_memorisation.py"


rule tokenize_clips:
    input:
        clips="results/clips/{experiment}/{clips}",
        semantic=for_experiment("{semantic}"),
    output:
        tokens="results/metrics/{experiment}/{clips}/tokens.jsonl",
    log:
        "results/logs/tokenize_clips/{experiment}/{clips}.log",
    benchmark:
        "results/benchmarks/tokenize_clips/{experiment}/{clips}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=1,
    params:
        version=version("tokenize_clips", "memorisation.clip_tokens", "clip_sets"),
    message:
        "Semantic tokens of {wildcards.experiment} ({wildcards.clips})"
    script:
        "../scripts/tokenize_clips.py"


rule extract_prefixes:
    input:
        models=plan.queried_model,
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
    output:
        table="results/metrics/{experiment}/seed-{seed}/extraction.csv",
    log:
        "results/logs/extract_prefixes/{experiment}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/extract_prefixes/{experiment}/seed-{seed}.tsv"
    wildcard_constraints:
        experiment=either(plan.having("continues")),
    conda:
        system_env
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=1,
    params:
        version=version("extract_prefixes", what="continuation"),
        system=lambda w: experiment_of(w).system,
        settings=SETTINGS.params("prefixes", "prefix_tokens", "continued_tokens"),
        seed=CONFIG.evaluation.seed,
    message:
        "Beginnings of training items, continued by {wildcards.experiment}, seed {wildcards.seed}"
    script:
        "../scripts/extract_prefixes.py"


rule find_memorisation:
    input:
        source=lambda w: source_folder(experiment_of(w)),
        clips="results/clips/{experiment}/{clips}",
        pieces=for_experiment("results/corpora/{corpus}/pieces.csv"),
        wav=for_experiment("results/corpora/{corpus}/wav/{shard}"),
        catalogue=for_experiment("results/memorisation/{corpus}/{cut}/catalogue"),
        corpus_embeddings=plan.of_corpus_embeddings,
        clip_embeddings=collect(
            "results/embeddings/{{experiment}}/{{clips}}/{embedding}.npz",
            embedding=plan.searched_embeddings,
        ),
        recall=for_experiment("results/memorisation/{corpus}/{cut}/recall.csv"),
        tokens=plan.with_role("semantic", "results/tokens/{corpus}/{tokens}/{shard}.jsonl"),
        clip_tokens=plan.with_role("semantic", "results/metrics/{experiment}/{clips}/tokens.jsonl"),
        extraction=plan.extraction_of,
        packed=trained_here("results/packed/{corpus}/{tokens}"),
    output:
        table=report(
            "results/metrics/{experiment}/{clips}/memorisation.csv",
            caption="../docs/captions/memorisation.rst",
            category="Copies of training music",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "memorisation"},
        ),
        clips=report(
            "results/metrics/{experiment}/{clips}/memorisation_clips.csv",
            caption="../docs/captions/memorisation_clips.rst",
            category="Copies of training music",
            subcategory="{experiment}",
            labels={"clips": "{clips}", "table": "memorisation_clips"},
        ),
        hashes=directory("results/metrics/{experiment}/{clips}/hashes"),
    log:
        "results/logs/find_memorisation/{experiment}/{clips}.log",
    benchmark:
        "results/benchmarks/find_memorisation/{experiment}/{clips}.tsv"
    conda:
        "../envs/memorisation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        version=version(
            "find_memorisation",
            *("memorisation.evaluate", "memorisation.find", "memorisation.waveform"),
            *("memorisation.rows", "memorisation.sequences", "memorisation.neighbours"),
            *("memorisation.melody", "memorisation.bar_runs", "memorisation.tunes"),
            *("notes.clips", "clip_sets", "memorisation.chroma", "activations"),
            *("notes.whole_bars", "notes.means"),
        ),
        experiment=lambda w: experiment_of(w).params(),
        cut=lambda w: cut_of_experiment(w).params(),
        settings=SETTINGS.params("null_clips"),
        seed=CONFIG.evaluation.seed,
        embeddings=plan.plugin_embeddings,
        root=lambda w, input: input.get("source") or str(corpus_of(experiment_of(w)).path),
    message:
        "Does {wildcards.experiment} ({wildcards.clips}) repeat its training music?"
    script:
        "../scripts/find_memorisation.py"
