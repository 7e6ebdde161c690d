# Weights that others trained -> one form on this machine, and the proof that they work.


rule fetch_weights:
    input:
        given=given_weights_of,
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
        version=version("pretrained/fetch"),
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
        tokenizer=either(
            name
            for name, t in CONFIG.tokenizers.items()
            if t.kind in etude.config.PRETRAINED_KINDS
        ),
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=1,
    params:
        version=version("metrics/verify"),
        cut=lambda w: CONFIG.cuts[CONFIG.tokenizers[w.tokenizer].fit.cut].params(),
        strict=lambda w: CONFIG.pretrained[CONFIG.tokenizers[w.tokenizer].model].verify == "strict",
    message:
        "Proving that {wildcards.tokenizer} works on {wildcards.corpus}"
    script:
        "../scripts/verify_models.py"
