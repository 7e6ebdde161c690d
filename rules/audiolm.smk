# Three trained transformers over audio tokens -> clips.


rule generate_clips:
    input:
        models=collect(
            "results/models/{experiment}/{stage}/seed-{seed}/model.safetensors",
            stage=("semantic", "coarse", "fine"),
            allow_missing=True,
        ),
        semantic=for_experiment("{semantic}"),
        acoustic=for_experiment("{acoustic}"),
        prime=lambda w: experiment_of(w).generate.primes,
    output:
        folder=directory("results/clips/{experiment}/seed-{seed}/draw-{draw}"),
    log:
        "results/logs/generate_clips/{experiment}/seed-{seed}/draw-{draw}.log",
    benchmark:
        "results/benchmarks/generate_clips/{experiment}/seed-{seed}/draw-{draw}.tsv"
    wildcard_constraints:
        experiment=either(n for n, e in CONFIG.experiments.items() if e.system == "audiolm"),
    conda:
        with_library("../envs/torch.yaml")
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=1,
    params:
        version=version("systems/audiolm/sampling", "systems/audiolm/player", "clips/sampling"),
        generate=lambda w: experiment_of(w).generate.params(),
    message:
        "Generating clips of {wildcards.experiment}, seed {wildcards.seed}, draw {wildcards.draw}"
    script:
        "../scripts/generate_clips.py"
