# A folder, an archive or music21 -> one table of pieces; their split, captions and audio.


rule fetch_source:
    input:
        archive=lambda w: sources.archive_file(corpus_of(w)),
    output:
        folder=directory("results/corpora/{corpus}/source"),
    log:
        "results/logs/fetch_source/{corpus}.log",
    benchmark:
        "results/benchmarks/fetch_source/{corpus}.tsv"
    conda:
        "../envs/corpus.yaml"
    threads: 8
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version("fetch_source", version.of_source, withdrawals),
        corpus=lambda w: sources.fetch_params(corpus_of(w)),
        # With `input`, Snakemake does not compare it: a folder that has moved is no reason.
        root=lambda w, input: str(getattr(corpus_of(w), "path", "")),
        tables=lambda w, input: consent.table_params(corpus_of(w)),  # as above
        digest=scan_digest,
    message:
        "Fetching the music of corpus {wildcards.corpus}"
    script:
        "../scripts/fetch_source.py"


rule ingest_corpus:
    input:
        source=source_folder,
    output:
        table="results/corpora/{corpus}/ingest/{shard}.csv",
    log:
        "results/logs/ingest_corpus/{corpus}/{shard}.log",
    benchmark:
        "results/benchmarks/ingest_corpus/{corpus}/{shard}.tsv"
    priority: FIRST
    conda:
        "../envs/corpus.yaml"
    threads: sharing(4, plan.shards_together)
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version("ingest_corpus", "ingest", "notes", "recordings"),
        corpus=lambda w: corpus_of(w).params("shards", "limit", "filter", "metadata"),
        # With `input`, Snakemake does not compare it: a folder that has moved is no reason.
        root=lambda w, input: input.get("source") or str(corpus_of(w).path),
        # So it is with the tables about owners, which decide no row, only whether there is one.
        tables=lambda w, input: consent.table_params(corpus_of(w)),
        digest=scan_digest,
    message:
        "Reading every file of {wildcards.corpus}, shard {wildcards.shard}"
    script:
        "../scripts/ingest_corpus.py"


rule decide_split:
    input:
        ingest=per_shard("results/corpora/{corpus}/ingest/{shard}.csv"),
    output:
        pieces=report(
            "results/corpora/{corpus}/pieces.csv",
            caption="../docs/captions/pieces.rst",
            category="Corpus",
            labels={"corpus": "{corpus}"},
        ),
    log:
        "results/logs/decide_split/{corpus}.log",
    benchmark:
        "results/benchmarks/decide_split/{corpus}.tsv"
    priority: FIRST
    conda:
        "../envs/corpus.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version("decide_split", "split", withdrawals),
        corpus=lambda w: corpus_of(w).params("shards", "duplicates", "max_rejected", "split"),
    message:
        "Finding duplicates and tunes of {wildcards.corpus}, deciding its split"
    script:
        "../scripts/decide_split.py"


rule caption_corpus:
    input:
        source=source_folder,
        pieces="results/corpora/{corpus}/pieces.csv",
    output:
        table=report(
            "results/corpora/{corpus}/captions.csv",
            caption="../docs/captions/captions.rst",
            category="Corpus",
            labels={"corpus": "{corpus}"},
        ),
    log:
        "results/logs/caption_corpus/{corpus}.log",
    benchmark:
        "results/benchmarks/caption_corpus/{corpus}.tsv"
    conda:
        "../envs/corpus.yaml"
    threads: 4
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version("caption_corpus", "captions", "words", "notes"),
        corpus=lambda w: corpus_of(w).params("filter", "captions"),
        root=lambda w, input: input.get("source") or str(corpus_of(w).path),  # as above
    message:
        "Saying in words what the pieces of {wildcards.corpus} are"
    script:
        "../scripts/caption_corpus.py"


rule render_midi:
    input:
        source=source_folder,
        ingest="results/corpora/{corpus}/ingest/{shard}.csv",
        soundfont=lambda w: sources.soundfont_file(corpus_of(w)),
    output:
        folder=directory("results/corpora/{corpus}/wav/{shard}"),
    log:
        "results/logs/render_midi/{corpus}/{shard}.log",
    benchmark:
        "results/benchmarks/render_midi/{corpus}/{shard}.tsv"
    priority: FIRST
    conda:
        "../envs/corpus.yaml"
    threads: sharing(8, plan.shards_together)
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        version=version("render_midi", "render", "recordings"),
        corpus=lambda w: corpus_of(w).params("filter", "render"),
        root=lambda w, input: input.get("source") or str(corpus_of(w).path),  # as above
    message:
        "Rendering {wildcards.corpus} to audio, shard {wildcards.shard}"
    script:
        "../scripts/render_midi.py"
