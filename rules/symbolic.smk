# MIDI -> tokens of language models -> packed training data.


rule make_tokenizer:
    input:
        # What learns (byte pairs, one of the user's own) does so from the training split.
        pieces=plan.where_it_learns("results/corpora/{corpus}/pieces.csv"),
        ingest=plan.where_it_learns("results/corpora/{corpus}/ingest/{shard}.csv"),
        source=lambda w: source_folder(w) if plan.learns(w.tokenizer) else [],
    output:
        folder=directory("results/tokenizers/{corpus}/{tokenizer}"),
    log:
        "results/logs/make_tokenizer/{corpus}/{tokenizer}.log",
    benchmark:
        "results/benchmarks/make_tokenizer/{corpus}/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=either(n for n in plan.symbolic_tokenizers if not plan.is_imported(n)),
    priority: FIRST
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version("make_tokenizer", version.of_tokenizer),
        tokenizer=lambda w: CONFIG.tokenizers[w.tokenizer].params(),
        corpus=lambda w: corpus_of(w).params("filter") if plan.learns(w.tokenizer) else "",
        # A user's own folder is no input; with `input`, Snakemake does not compare it.
        root=lambda w, input: input.get("source") or str(getattr(corpus_of(w), "path", "")),
    message:
        "Making tokenizer {wildcards.tokenizer} for {wildcards.corpus}"
    script:
        "../scripts/make_tokenizer.py"


rule tokenize_midi:
    input:
        source=source_folder,
        ingest="results/corpora/{corpus}/ingest/{shard}.csv",
        tokenizer=tokenizer_of("tokenizer"),
    output:
        tokens="results/tokens/{corpus}/{tokens}/{shard}.jsonl",
        table="results/tokens/{corpus}/{tokens}/{shard}.csv",
        statistics="results/tokens/{corpus}/{tokens}/{shard}.statistics.csv",
    log:
        "results/logs/tokenize_midi/{corpus}/{tokens}/{shard}.log",
    benchmark:
        "results/benchmarks/tokenize_midi/{corpus}/{tokens}/{shard}.tsv"
    wildcard_constraints:
        tokens=either(plan.symbolic_sets),
    priority: FIRST
    conda:
        "../envs/torch.yaml"
    threads: sharing(4, plan.shards_together)
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version(
            "tokenize_midi",
            *("symbolic.tokenize", "symbolic.midilm", "cleaning", "we_sharp", "notes"),
        ),
        tokens=lambda w: CONFIG.tokens[w.tokens].tokens_params(),
        corpus=lambda w: corpus_of(w).params("filter"),
        root=lambda w, input: input.get("source") or str(corpus_of(w).path),  # as above
    message:
        "Tokenizing {wildcards.corpus} ({wildcards.tokens}), shard {wildcards.shard}"
    script:
        "../scripts/tokenize_midi.py"


rule write_events:
    input:
        source=source_folder,
        ingest="results/corpora/{corpus}/ingest/{shard}.csv",
        tokenizer=tokenizer_of("tokenizer"),
    output:
        folder=directory("results/events/{corpus}/{tokens}/{shard}"),
    log:
        "results/logs/write_events/{corpus}/{tokens}/{shard}.log",
    benchmark:
        "results/benchmarks/write_events/{corpus}/{tokens}/{shard}.tsv"
    wildcard_constraints:
        tokens=either(plan.symbolic_sets),
    conda:
        "../envs/torch.yaml"
    threads: sharing(4, plan.shards_together)
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version(
            "write_events",
            *("symbolic.tokenize", "symbolic.midilm", "cleaning", "we_sharp"),
        ),
        tokens=lambda w: CONFIG.tokens[w.tokens].tokens_params(),
        corpus=lambda w: corpus_of(w).params("filter"),
        root=lambda w, input: input.get("source") or str(corpus_of(w).path),  # as above
    message:
        "Writing each step of {wildcards.corpus} ({wildcards.tokens}), shard {wildcards.shard}"
    script:
        "../scripts/write_events.py"


rule summarise_tokens:
    input:
        tables=per_shard("results/tokens/{corpus}/{tokens}/{shard}.csv"),
        statistics=per_shard("results/tokens/{corpus}/{tokens}/{shard}.statistics.csv"),
    output:
        folder=directory("results/tokens/{corpus}/{tokens}/summary"),
    log:
        "results/logs/summarise_tokens/{corpus}/{tokens}.log",
    benchmark:
        "results/benchmarks/summarise_tokens/{corpus}/{tokens}.tsv"
    wildcard_constraints:
        tokens=either(plan.symbolic_sets),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        version=version("summarise_tokens", "symbolic.summary"),
    message:
        "Counting the tokens of {wildcards.corpus} ({wildcards.tokens})"
    script:
        "../scripts/summarise_tokens.py"


rule pack_symbolic:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        tokens=per_shard("results/tokens/{corpus}/{tokens}/{shard}.jsonl"),
        tokenizer=tokenizer_of("tokenizer"),
    output:
        folder=directory("results/packed/{corpus}/{tokens}"),
    log:
        "results/logs/pack_symbolic/{corpus}/{tokens}.log",
    benchmark:
        "results/benchmarks/pack_symbolic/{corpus}/{tokens}.tsv"
    wildcard_constraints:
        tokens=either(plan.symbolic_sets),
    priority: FIRST
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version("pack_symbolic", "symbolic.pack"),
        tokens=lambda w: CONFIG.tokens[w.tokens].tokens_params(),
    message:
        "Joining tokens and split of {wildcards.corpus}; nothing may cross"
    script:
        "../scripts/pack_symbolic.py"
