# Audio -> segments -> tokens -> packed training data.


rule cut_segments:
    input:
        wav="results/corpora/{corpus}/wav/{shard}",
    output:
        folder=directory("results/cuts/{corpus}/{cut}/{shard}"),
    log:
        "results/logs/cut_segments/{corpus}/{cut}/{shard}.log",
    benchmark:
        "results/benchmarks/cut_segments/{corpus}/{cut}/{shard}.tsv"
    priority: FIRST
    conda:
        "../envs/corpus.yaml"
    threads: sharing(4, plan.shards_together)
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        version=version("cut_segments", "cuts"),
        cut=lambda w: CONFIG.cuts[w.cut].params(),
    message:
        "Cutting {wildcards.corpus} ({wildcards.cut}), shard {wildcards.shard}"
    script:
        "../scripts/cut_segments.py"


rule fit_tokenizer:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        wav=fit_shards("results/corpora/{corpus}/wav/{shard}"),
        cuts=fit_shards("results/cuts/{corpus}/{cut}/{shard}"),
        weights=plan.pretrained_of("model"),
        centres=plan.pretrained_of("centres"),
    output:
        folder=directory("results/tokenizers/{corpus}/{tokenizer}"),
    log:
        "results/logs/fit_tokenizer/{corpus}/{tokenizer}.log",
    benchmark:
        "results/benchmarks/fit_tokenizer/{corpus}/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=either(n for n in plan.audio_tokenizers if not plan.is_imported(n)),
    priority: FIRST
    conda:
        "../envs/torch.yaml"
    threads: sharing(4, plan.fits_together)
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version("fit_tokenizer", version.of_tokenizer),
        tokenizer=lambda w: CONFIG.tokenizers[w.tokenizer].params(),
        cut=lambda w: plan.fitting_cut(w).params(),
    message:
        "Fitting tokenizer {wildcards.tokenizer} on the training split of {wildcards.corpus}"
    script:
        "../scripts/fit_tokenizer.py"


rule import_tokenizer:
    input:
        files=lambda w: given_tokenizer.fitted_files(CONFIG.tokenizers[w.tokenizer].fit),
    output:
        folder=directory("results/tokenizers/{corpus}/{tokenizer}"),
    log:
        "results/logs/import_tokenizer/{corpus}/{tokenizer}.log",
    benchmark:
        "results/benchmarks/import_tokenizer/{corpus}/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=either(filter(plan.is_imported, CONFIG.tokenizers)),
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        version=version("import_tokenizer", version.of_tokenizer),
        tokenizer=lambda w: CONFIG.tokenizers[w.tokenizer].params(),
    message:
        "Taking over tokenizer {wildcards.tokenizer} for {wildcards.corpus}"
    script:
        "../scripts/import_tokenizer.py"


rule tokenize_audio:
    input:
        wav="results/corpora/{corpus}/wav/{shard}",
        cuts=lambda w: f"results/cuts/{w.corpus}/{plan.cut_of_tokens(w)}/{w.shard}",
        semantic=tokenizer_of("semantic"),
        acoustic=tokenizer_of("acoustic"),
        verified=plan.verified_tokenizers,
    output:
        tokens="results/tokens/{corpus}/{tokens}/{shard}.jsonl",
        left_out="results/tokens/{corpus}/{tokens}/{shard}.left_out.csv",
    log:
        "results/logs/tokenize_audio/{corpus}/{tokens}/{shard}.log",
    benchmark:
        "results/benchmarks/tokenize_audio/{corpus}/{tokens}/{shard}.tsv"
    wildcard_constraints:
        tokens=either(plan.audio_sets),
    priority: FIRST
    conda:
        "../envs/torch.yaml"
    threads: sharing(4, plan.shards_together)
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        version=version("tokenize_audio", "tokenize"),
        cut=lambda w: CONFIG.cuts[plan.cut_of_tokens(w)].params(),
    message:
        "Tokenizing {wildcards.corpus} ({wildcards.tokens}), shard {wildcards.shard}"
    script:
        "../scripts/tokenize_audio.py"


rule pack_tokens:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        tokens=per_shard("results/tokens/{corpus}/{tokens}/{shard}.jsonl"),
        left_out=per_shard("results/tokens/{corpus}/{tokens}/{shard}.left_out.csv"),
        semantic=tokenizer_of("semantic"),
        acoustic=tokenizer_of("acoustic"),
    output:
        folder=directory("results/packed/{corpus}/{tokens}"),
    log:
        "results/logs/pack_tokens/{corpus}/{tokens}.log",
    benchmark:
        "results/benchmarks/pack_tokens/{corpus}/{tokens}.tsv"
    wildcard_constraints:
        tokens=either(plan.audio_sets),
    priority: FIRST
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version("pack_tokens", "pack"),
        cut=lambda w: CONFIG.cuts[plan.cut_of_tokens(w)].params(),
    message:
        "Joining tokens and split of {wildcards.corpus}; nothing may cross"
    script:
        "../scripts/pack_tokens.py"
