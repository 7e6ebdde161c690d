"""A trained language model of symbols -> music as .mid and .wav."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import CorpusBase, parse
    from etude.config.systems.symbolic_lm import SymbolicGenerate
    from etude.systems.symbolic_lm.files import make_symbolic_clips

    settings = parse(SymbolicGenerate, snakemake.params.generate)
    if snakemake.input.prime:  # params know its name only
        settings = settings.model_copy(update={"prime": Path(snakemake.input.prime)})
    make_symbolic_clips(
        Path(snakemake.input.model).parent,
        Path(snakemake.input.tokenizer[0]),
        Path(snakemake.input.packed[0]),
        settings,
        parse(CorpusBase, snakemake.params.corpus),
        int(snakemake.wildcards.seed),
        int(snakemake.wildcards.draw),
        Path(snakemake.output.folder),
    )
