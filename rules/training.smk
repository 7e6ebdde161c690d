# Packed tokens, of whichever system -> its trained stages, and what they make of the corpus.


rule import_weights:
    input:
        weights=weights_of,
        files=plan.files_of,
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        tokenizers=plan.tokenizer_folders,
        models=plan.upstream_models,
        latents=plan.upstream_latents,
        captions=plan.captions_of,
        verified=verified_texts,
    output:
        weights="results/models/{experiment}/{stage}/seed-{seed}/model.safetensors",
        config="results/models/{experiment}/{stage}/seed-{seed}/config.json",
        card="results/models/{experiment}/{stage}/seed-{seed}/card.md",
    log:
        "results/logs/import_weights/{experiment}/{stage}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/import_weights/{experiment}/{stage}/seed-{seed}.tsv"
    wildcard_constraints:
        experiment=plan.with_stage(imported=True),
    conda:
        system_env
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        version=version("import_weights", what="build"),
        experiment=lambda w: experiment_of(w).stage_params(w.stage),
        roles=plan.roles_of,
    message:
        "Importing weights for {wildcards.experiment}: {wildcards.stage}"
    script:
        "../scripts/import_weights.py"


rule train_stage:
    input:
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        tokenizers=plan.tokenizer_folders,
        models=plan.upstream_models,
        latents=plan.upstream_latents,
        captions=plan.captions_of,
        weights=weights_of,
        files=plan.files_of,
        verified=verified_embeddings,
    output:
        weights="results/models/{experiment}/{stage}/seed-{seed}/model.safetensors",
        config="results/models/{experiment}/{stage}/seed-{seed}/config.json",
        history="results/models/{experiment}/{stage}/seed-{seed}/history.csv",
        timings="results/models/{experiment}/{stage}/seed-{seed}/timings.csv",
        card="results/models/{experiment}/{stage}/seed-{seed}/card.md",
        curve=report(
            "results/models/{experiment}/{stage}/seed-{seed}/curve.svg",
            caption="../docs/captions/curve.rst",
            category="Training",
            labels={"experiment": "{experiment}", "stage": "{stage}", "seed": "{seed}"},
        ),
    log:
        "results/logs/train_stage/{experiment}/{stage}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/train_stage/{experiment}/{stage}/seed-{seed}.tsv"
    wildcard_constraints:
        experiment=plan.with_stage(imported=False),
    priority: FIRST
    retries: RETRIES
    conda:
        system_env
    threads: sharing(8, plan.trainings_together)
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=lambda w: stage_of(w).training.devices,
    params:
        version=version("train_stage", what="train"),
        experiment=plan.training_params,
        roles=plan.roles_of,
    message:
        "Training {wildcards.experiment}: {wildcards.stage}, seed {wildcards.seed}"
    script:
        "../scripts/train_stage.py"


rule encode_stage:
    input:
        models=plan.trained_and_upstream,
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        tokenizers=plan.tokenizer_folders,
        latents=plan.upstream_latents,
        captions=plan.captions_of,
        pieces=plan.pieces_to_encode,
        wav=plan.audio_to_encode,
    output:
        latents=directory("results/latents/{experiment}/{stage}/seed-{seed}"),
    log:
        "results/logs/encode_stage/{experiment}/{stage}/seed-{seed}.log",
    benchmark:
        "results/benchmarks/encode_stage/{experiment}/{stage}/seed-{seed}.tsv"
    wildcard_constraints:
        experiment=plan.with_stage(encodes=True),
    priority: FIRST
    conda:
        system_env
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=1,
    params:
        version=version("encode_stage", what="encode"),
        experiment=lambda w: experiment_of(w).stage_params(w.stage),
        roles=plan.roles_of,
    message:
        "Encoding the corpus by {wildcards.experiment}: {wildcards.stage}, seed {wildcards.seed}"
    script:
        "../scripts/encode_stage.py"


rule keep_step:
    input:
        trained="results/models/{experiment}/{stage}/seed-{seed}/model.safetensors",
        packed=for_experiment("results/packed/{corpus}/{tokens}"),
        tokenizers=plan.tokenizer_folders,
        models=plan.upstream_models,
        latents=plan.upstream_latents,
        captions=plan.captions_of,
        weights=weights_of,
        files=plan.files_of,
    output:
        weights="results/models/{experiment}/{stage}/seed-{seed}/step-{step}.safetensors",
    log:
        "results/logs/keep_step/{experiment}/{stage}/seed-{seed}/step-{step}.log",
    benchmark:
        "results/benchmarks/keep_step/{experiment}/{stage}/seed-{seed}/step-{step}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        version=version("keep_step"),
        experiment=lambda w: experiment_of(w).stage_params(w.stage),
        roles=plan.roles_of,
    message:
        "Keeping step {wildcards.step} of {wildcards.experiment}: {wildcards.stage}"
    script:
        "../scripts/keep_step.py"
