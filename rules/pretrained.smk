# Weights that others trained -> one form on this machine, and the proof that they work.


rule fetch_weights:
    input:
        given=plan.imported_weights_of,
    output:
        folder=directory("results/pretrained/{pretrained}"),
    log:
        "results/logs/fetch_weights/{pretrained}.log",
    benchmark:
        "results/benchmarks/fetch_weights/{pretrained}.tsv"
    localrule: True
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        version=version("fetch_weights", "pretrained", "pretrained_sound"),
        pretrained=lambda w: CONFIG.pretrained[w.pretrained].params(),
    message:
        "Fetching the pretrained weights {wildcards.pretrained}"
    script:
        "../scripts/fetch_weights.py"


rule verify_models:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        wav=fit_shards("results/corpora/{corpus}/wav/{shard}"),
        cuts=fit_shards("results/cuts/{corpus}/{cut}/{shard}"),
        tokenizer="results/tokenizers/{corpus}/{tokenizer}",
    output:
        table=report(
            "results/verified/{corpus}/{tokenizer}.csv",
            caption="../docs/captions/verified.rst",
            category="Pretrained parts",
        ),
    log:
        "results/logs/verify_models/{corpus}/{tokenizer}.log",
    benchmark:
        "results/benchmarks/verify_models/{corpus}/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=either(plan.pretrained_tokenizers),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=1,
    params:
        version=version("verify_models", "verify"),
        cut=lambda w: plan.fitting_cut(w).params(),
        strict=lambda w: CONFIG.pretrained[CONFIG.tokenizers[w.tokenizer].model].verify == "strict",
    message:
        "Proving that {wildcards.tokenizer} works on {wildcards.corpus}"
    script:
        "../scripts/verify_models.py"


rule verify_embedding:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        wav=per_shard("results/corpora/{corpus}/wav/{shard}"),
        cuts=per_shard("results/cuts/{corpus}/{cut}/{shard}"),
        weights="results/pretrained/{embedding}",
    output:
        table=report(
            "results/verified_embeddings/{corpus}/{cut}/{embedding}.csv",
            caption="../docs/captions/verified_embedding.rst",
            category="Pretrained parts",
        ),
    log:
        "results/logs/verify_embedding/{corpus}/{cut}/{embedding}.log",
    benchmark:
        "results/benchmarks/verify_embedding/{corpus}/{cut}/{embedding}.tsv"
    wildcard_constraints:
        embedding=either(plan.embeddings_by("pretrained")),
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=1,
    params:
        version=version("verify_embedding", "verify_embedding"),
        rate=lambda w: CONFIG.cuts[w.cut].rate,
        strict=lambda w: CONFIG.pretrained[w.embedding].verify == "strict",
    message:
        "Proving that {wildcards.embedding} hears {wildcards.corpus} as music"
    script:
        "../scripts/verify_embedding.py"


rule verify_embedding_fadtk:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        wav=per_shard("results/corpora/{corpus}/wav/{shard}"),
        cuts=per_shard("results/cuts/{corpus}/{cut}/{shard}"),
    output:
        table=report(
            "results/verified_embeddings/{corpus}/{cut}/{embedding}.csv",
            caption="../docs/captions/verified_embedding.rst",
            category="Pretrained parts",
        ),
    log:
        "results/logs/verify_embedding_fadtk/{corpus}/{cut}/{embedding}.log",
    benchmark:
        "results/benchmarks/verify_embedding_fadtk/{corpus}/{cut}/{embedding}.tsv"
    wildcard_constraints:
        embedding=either(plan.fadtk_claps),
    conda:
        "../envs/fadtk.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=1,
    params:
        version=version("verify_embedding", "verify_embedding"),
        rate=lambda w: CONFIG.cuts[w.cut].rate,
        strict=CONFIG.evaluation.verify == "strict",
    message:
        "Proving that {wildcards.embedding} hears {wildcards.corpus} as music"
    script:
        "../scripts/verify_embedding.py"


rule embed_clips_pretrained:
    input:
        clips="results/clips/{experiment}/{clips}",
        weights="results/pretrained/{embedding}",
        verified=verified_embedding,
    output:
        table="results/embeddings/{experiment}/{clips}/{embedding}.npz",
    log:
        "results/logs/embed_clips_pretrained/{experiment}/{clips}/{embedding}.log",
    benchmark:
        "results/benchmarks/embed_clips_pretrained/{experiment}/{clips}/{embedding}.tsv"
    wildcard_constraints:
        embedding=either(plan.embeddings_by("pretrained")),
    conda:
        "../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=8000,
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


rule embed_clips_fadtk:
    input:
        clips="results/clips/{experiment}/{clips}",
        verified=verified_embedding,
    output:
        table="results/embeddings/{experiment}/{clips}/{embedding}.npz",
    log:
        "results/logs/embed_clips_fadtk/{experiment}/{clips}/{embedding}.log",
    benchmark:
        "results/benchmarks/embed_clips_fadtk/{experiment}/{clips}/{embedding}.tsv"
    wildcard_constraints:
        embedding=either(plan.embeddings_by("fadtk")),
    conda:
        "../envs/fadtk.yaml"
    threads: 2
    resources:
        mem_mb=8000,
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


rule verify_text:
    input:
        weights="results/pretrained/{pretrained}",
        tokenizer="results/tokenizers/{corpus}/{tokenizer}",
    output:
        table=report(
            "results/verified_texts/{corpus}/{tokenizer}/{pretrained}.csv",
            caption="../docs/captions/verified_text.rst",
            category="Pretrained parts",
        ),
    log:
        "results/logs/verify_text/{corpus}/{tokenizer}/{pretrained}.log",
    benchmark:
        "results/benchmarks/verify_text/{corpus}/{tokenizer}/{pretrained}.tsv"
    wildcard_constraints:
        pretrained=either(plan.read_texts),
    priority: FIRST
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=120,
        gpu=1,
    params:
        version=version("verify_text", "verify_text"),
        system=lambda w: plan.read_texts[w.pretrained],
        kind=lambda w: CONFIG.pretrained[w.pretrained].kind,
        strict=lambda w: CONFIG.pretrained[w.pretrained].verify == "strict",
    message:
        "Proving that {wildcards.pretrained} knows words"
    script:
        "../scripts/verify_text.py"
