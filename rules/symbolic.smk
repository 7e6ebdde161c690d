# MIDI -> tokens of language models -> packed training data; a trained model -> music.


rule make_tokenizer:
    input:
        # What learns (byte pairs, one of the user's own) does so from the training split.
        pieces=where_it_learns("results/corpora/{corpus}/pieces.csv"),
        ingest=where_it_learns("results/corpora/{corpus}/ingest/{shard}.csv"),
        source=lambda w: source_folder(w) if learns(w.tokenizer) else [],
    output:
        folder=directory("results/tokenizers/{corpus}/{tokenizer}"),
    log:
        "results/logs/make_tokenizer/{corpus}/{tokenizer}.log",
    benchmark:
        "results/benchmarks/make_tokenizer/{corpus}/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=either(n for n in SYMBOLIC_TOKENIZERS if not is_given(n)),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version_of_tokenizer,
        tokenizer=lambda w: CONFIG.tokenizers[w.tokenizer].params(),
        corpus=lambda w: corpus_of(w).params("filter") if learns(w.tokenizer) else "",
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
        tokenizer=symbolic_tokenizer,
    output:
        tokens="results/tokens/{corpus}/{tokens}/{shard}.jsonl",
        table="results/tokens/{corpus}/{tokens}/{shard}.csv",
        statistics="results/tokens/{corpus}/{tokens}/{shard}.statistics.csv",
    log:
        "results/logs/tokenize_midi/{corpus}/{tokens}/{shard}.log",
    benchmark:
        "results/benchmarks/tokenize_midi/{corpus}/{tokens}/{shard}.tsv"
    wildcard_constraints:
        tokens=either(SYMBOLIC_SETS),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version(
            "tokenizers/symbolic/tokenize",
            "tokenizers/symbolic/midilm",
            "midi/cleaning",
            "midi/we_sharp",
            "midi/notes",
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
        tokenizer=symbolic_tokenizer,
    output:
        folder=directory("results/events/{corpus}/{tokens}/{shard}"),
    log:
        "results/logs/write_events/{corpus}/{tokens}/{shard}.log",
    benchmark:
        "results/benchmarks/write_events/{corpus}/{tokens}/{shard}.tsv"
    wildcard_constraints:
        tokens=either(SYMBOLIC_SETS),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version(
            "tokenizers/symbolic/tokenize",
            "tokenizers/symbolic/midilm",
            "midi/cleaning",
            "midi/we_sharp",
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
        tokens=either(SYMBOLIC_SETS),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        version=version("tokenizers/symbolic/summary"),
    message:
        "Counting the tokens of {wildcards.corpus} ({wildcards.tokens})"
    script:
        "../scripts/summarise_tokens.py"


rule pack_symbolic:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        tokens=per_shard("results/tokens/{corpus}/{tokens}/{shard}.jsonl"),
        tokenizer=symbolic_tokenizer,
    output:
        folder=directory("results/packed/{corpus}/{tokens}"),
    log:
        "results/logs/pack_symbolic/{corpus}/{tokens}.log",
    benchmark:
        "results/benchmarks/pack_symbolic/{corpus}/{tokens}.tsv"
    wildcard_constraints:
        tokens=either(SYMBOLIC_SETS),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version("tokenizers/symbolic/pack"),
        tokens=lambda w: CONFIG.tokens[w.tokens].tokens_params(),
    message:
        "Joining tokens and split of {wildcards.corpus}; nothing may cross"
    script:
        "../scripts/pack_symbolic.py"


rule generate_symbolic:
    input:
        model="results/models/{experiment}/lm/seed-{seed}/model.safetensors",
        tokenizer=for_experiment("{tokenizer}"),
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        prime=lambda w: experiment_of(w).generate.prime or [],
        soundfont=lambda w: sources.soundfont_file(CONFIG.corpora[experiment_of(w).corpus]),
    output:
        folder=directory("results/clips/{experiment}/seed-{seed}/draw-{draw}"),
    log:
        "results/logs/generate_symbolic/{experiment}/seed-{seed}/draw-{draw}.log",
    benchmark:
        "results/benchmarks/generate_symbolic/{experiment}/seed-{seed}/draw-{draw}.tsv"
    wildcard_constraints:
        experiment=either(n for n, e in CONFIG.experiments.items() if e.system == "symbolic_lm"),
    conda:
        "../envs/torch.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=1,
    params:
        version=version(
            "systems/symbolic_lm/player",
            "systems/symbolic_lm/sampling",
            "systems/symbolic_lm/files",
            "clips/sampling",
            "midi/render",
            "midi/writing",
        ),
        generate=lambda w: experiment_of(w).generate.params(),
        corpus=lambda w: CONFIG.corpora[experiment_of(w).corpus].params("filter", "render"),
    message:
        "Generating music of {wildcards.experiment}, seed {wildcards.seed}, draw {wildcards.draw}"
    script:
        "../scripts/generate_symbolic.py"
