"""A trained model, given the beginnings of training items -> how often it goes on as they do."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Memorisation, parse
    from etude.systems.audiolm.beginnings import extract_semantic
    from etude.systems.symbolic_lm.beginnings import extract_symbolic

    settings = parse(Memorisation, snakemake.params.settings)
    model, packed = Path(snakemake.input.weights).parent, Path(snakemake.input.packed[0])
    seed, output = snakemake.params.seed, Path(snakemake.output.table)
    if snakemake.params.system == "audiolm":
        extract_semantic(model, packed, settings.prefixes, seed, output)
    else:
        lengths, more = settings.prefix_tokens, settings.continued_tokens
        extract_symbolic(model, packed, settings.prefixes, lengths, more, seed, output)
