"""`etude`, or `python -m etude`: what can be done outside the workflow."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from etude.arguments import above, at_least, name, place, spelled, text, whole
from etude.collection.arguments import add_commands as add_collection
from etude.errors import UserError, of_a_file
from etude.metrics.arguments import add_evaluate
from etude.report.arguments import add_results
from etude.studio.arguments import add_commands
from etude.train.arguments import add_train
from etude.withdrawal.arguments import add_command as add_withdraw

SEED, SECONDS = whole(0, 2**32 - 1), above(0, 3600)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; a user's error is four lines and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(options.run(options) or 0)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(of_a_file(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("etude"):
            raise
        print(
            f"the package {error.name} is not installed in this Python\n"
            "  do:    make setup, then .venv/bin/python -m etude …",
            file=sys.stderr,
        )
        return 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    """What follows `resume` is Snakemake's, options in front included, which argparse refuses."""
    if arguments[:1] == ["resume"] and not {"-h", "--help"} & set(arguments[1:2]):
        return argparse.Namespace(run=_resume, args=arguments[1:])
    arguments = spelled(arguments)
    return _parser(arguments).parse_args(arguments)


def _parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="etude", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    audit = commands.add_parser("audit", help="what a folder of music holds, before any training")
    audit.add_argument("folder", type=place)
    audit.set_defaults(run=_audit)

    _add_generate(commands.add_parser("generate", help="clips from a trained experiment"))
    _add_continue(commands.add_parser("continue", help="continue a MIDI file of yours"))

    _add_export(commands.add_parser("export", help="one folder that generates anywhere"))
    _add_pack(commands.add_parser("pack", help="clips, weights, owners: a ZIP to take along"))

    _add_tokens(commands.add_parser("tokens", help="MIDI as lines of REMI-z, and back"))
    add_evaluate(commands, _add_config)
    add_results(commands, _add_config)

    config = commands.add_parser("config", help="check the configuration; write its reference")
    config.add_argument("--write", action="store_true", help="config/README.md and docs/cli.md")
    _add_config(config)
    config.set_defaults(run=_config)

    clean = commands.add_parser("clean", help="what nothing under results/ refers to any more")
    clean.add_argument("--delete", action="store_true", help="remove it (else it is listed only)")
    _add_config(clean, "laid over config/config.yaml (those of the last run)")
    clean.set_defaults(run=_clean)

    doctor = commands.add_parser("doctor", help="what is here, what is missing, how to get it")
    _add_config(doctor)
    doctor.set_defaults(run=_doctor)

    verify = commands.add_parser("verify", help="prove pretrained weights before a run uses them")
    verify.add_argument("--cores", type=whole(1, 1024), default=os.cpu_count() or 1, help="(all)")
    _add_config(verify)
    verify.set_defaults(run=_verify)

    graph = "draw the flow of the rules: docs/flow.svg"
    commands.add_parser("graph", help=graph).set_defaults(run=_graph)

    add_train(commands, _add_config, arguments)
    add_commands(commands, _add_config)
    add_withdraw(commands, _add_config)
    add_collection(commands)

    resume = commands.add_parser("resume", help="continue after Snakemake itself was killed")
    resume.add_argument(
        "args", nargs="*", help="arguments for snakemake, as they are (those of the killed run)"
    )
    return parser


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument("--experiment", required=True, help="name in the configuration")
    export.add_argument("--output", type=place, required=True, help="the folder, new or empty")
    export.add_argument("--train-seed", type=SEED, help="which training (the first configured)")
    export.add_argument(
        "--no-index",
        action="store_true",
        help="without the training music that clips are compared with",
    )
    export.add_argument(
        "--form",
        help="for other programs: transformers, diffusers, tools (stable-audio-tools) or peft",
    )
    export.add_argument("--half", action="store_true", help="weights in 16 bits, half as large")
    _add_config(export)
    export.set_defaults(run=_export)


def _add_pack(pack: argparse.ArgumentParser) -> None:
    pack.add_argument("--experiment", required=True, help="name in the configuration")
    pack.add_argument("--output", type=place, required=True, help="the file, a new .zip")
    pack.add_argument("--clips", nargs="+", default=[], type=text, help="clip-0003 … (all)")
    pack.add_argument("--draw", type=SEED, help="which generation seed (the first configured)")
    pack.add_argument("--train-seed", type=SEED, help="which training (the first configured)")
    pack.add_argument("--without-weights", action="store_true", help="clips and owners alone")
    pack.add_argument("--contributor", type=text, help="whose own recordings and captions go along")
    _add_config(pack)
    pack.set_defaults(run=_pack)


def _add_tokens(tokens: argparse.ArgumentParser) -> None:
    tokens.add_argument("file", type=place, help="a MIDI file, or JSON lines that become one")
    tokens.add_argument("--tokenizer", type=place, required=True, help="its folder")
    tokens.add_argument("--output", type=place, required=True, help="the file that is written")
    tokens.add_argument(
        "--level",
        choices=("bar", "phrase", "position"),
        default="phrase",
        help="what a line is; a phrase is a track in a bar (phrase)",
    )
    tokens.set_defaults(run=_tokens)


def _add_generate(generate: argparse.ArgumentParser) -> None:
    what = generate.add_mutually_exclusive_group(required=True)
    what.add_argument("--experiment", help="name in the configuration")
    what.add_argument("--from", dest="exported", type=place, help="a folder of `etude export`")
    generate.add_argument(
        "--seconds",
        dest="duration",
        type=SECONDS,
        help="seconds to generate, without the prime (8; none where pieces have a length in bars)",
    )
    generate.add_argument("--clips", type=whole(1, 10_000), default=2, help="how many (2)")
    generate.add_argument(
        "--prime",
        type=place,
        help="a recording to continue: it is played whole, then --seconds more; or a "
        "folder of them, each in turn",
    )
    generate.add_argument(
        "--text",
        type=text,
        help="what it is to sound like, of systems that take text; <name>: a learned word",
    )
    generate.add_argument("--guidance", type=at_least(1), help="how strongly the text counts")
    generate.add_argument(
        "--output",
        type=name,
        default="track",
        help="track gives track1.wav, track2.wav …, which replace older ones",
    )
    generate.add_argument("--seed", type=SEED, default=0, help="generation seed (0)")
    generate.add_argument("--train-seed", type=SEED, help="which training (the first configured)")
    generate.add_argument("--temperature", type=at_least(0), help="0 is greedy (as configured)")
    generate.add_argument("--top-k", type=whole(1, 10**9), help="only the k likeliest tokens")
    generate.add_argument("--top-p", type=above(0, 1), help="only the likeliest up to this mass")
    generate.add_argument("--hop", type=SECONDS, help="seconds a window moves on (half of it)")
    generate.add_argument(
        "--fade", type=at_least(0), default=0.5, help="fade at the end, seconds (0.5)"
    )
    _add_set(generate)
    generate.add_argument("--progress", type=place, help="a JSON file that says how far it is")
    _add_config(generate)
    generate.set_defaults(run=_generate)


def _add_continue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("midi", type=place, help="what to continue: a file, or a folder of them")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--experiment", help="name of a symbolic experiment in the configuration")
    what.add_argument("--from", dest="exported", type=place, help="a folder of `etude export`")
    parser.add_argument("--bars", type=above(0, 1000), default=8.0, help="bars to add (8)")
    parser.add_argument("--seconds", type=SECONDS, help="seconds to add, in place of --bars")
    parser.add_argument(
        "--clips", type=whole(1, 10_000), default=1, help="how many continuations (1)"
    )
    parser.add_argument(
        "--output",
        type=name,
        default="continued",
        help="gives continued1.mid, continued1.wav …",
    )
    parser.add_argument(
        "--prompt-tokens", type=whole(1, 10**9), help="use only this many of its last tokens"
    )
    parser.add_argument("--seed", type=SEED, default=0, help="generation seed (0)")
    parser.add_argument("--train-seed", type=SEED, help="which training (the first configured)")
    parser.add_argument("--temperature", type=at_least(0), help="0 is greedy (as configured)")
    parser.add_argument("--top-k", type=whole(1, 10**9), help="only the k likeliest tokens")
    parser.add_argument("--top-p", type=above(0, 1), help="only the likeliest up to this mass")
    parser.add_argument(
        "--min-p",
        type=above(0, 1),
        help="only tokens at least this likely, relative to the likeliest",
    )
    parser.add_argument("--free", action="store_true", help="without the tokenizer's grammar")
    _add_set(parser)
    parser.add_argument("--progress", type=place, help="a JSON file that says how far it is")
    _add_config(parser)
    parser.set_defaults(run=_continue)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="other keys of the experiment's `generate` (config/README.md): bars=16 key='G major'",
    )


def _add_config(
    parser: argparse.ArgumentParser, what: str = "laid over config/config.yaml"
) -> None:
    parser.add_argument("--configfile", type=place, nargs="+", default=[], help=what)


def _audit(options: argparse.Namespace) -> int:
    from etude import config
    from etude.corpus.audit import audit

    corpus, cores = config.FolderCorpus(source="folder", path=options.folder), os.cpu_count() or 1

    def notes(paths: list[Path]) -> list[str]:
        from etude.tokenizers.symbolic.forecast import forecast_notes  # torch: not without MIDI

        return forecast_notes(corpus.rules, paths, cores)

    settings = config.read(config.DEFAULT)
    text, works = audit(options.folder, corpus, settings, cores, notes)
    print(text)
    return 0 if works else 1


def _generate(options: argparse.Namespace) -> None:
    from etude.generation.command import generate

    generate(options)


def _continue(options: argparse.Namespace) -> None:
    from etude.generation.command import continue_midi

    continue_midi(options)


def _export(options: argparse.Namespace) -> None:
    from etude import config
    from etude.generation.export import export

    settings = config.read(config.DEFAULT, *options.configfile)
    if options.form is not None:
        from etude.generation.export_formats import unwrap

        unwrap(settings, options.experiment, options.train_seed, options.form, options.output)
        print(options.output)
        return
    export(settings, options.experiment, options.train_seed, options.output, half=options.half)
    if not options.no_index:
        from etude.studio.nearest import add_index

        add_index(options.output, settings, options.experiment)
    print(options.output)


def _pack(options: argparse.Namespace) -> None:
    from etude import config
    from etude.generation.pack import pack

    names = pack(
        config.read(config.DEFAULT, *options.configfile),
        options.experiment,
        options.output,
        chosen=options.clips,
        draw=options.draw,
        seed=options.train_seed,
        weights=not options.without_weights,
        contributor=options.contributor or "",
    )
    print(*names, options.output, sep="\n")


def _tokens(options: argparse.Namespace) -> None:
    from etude.tokenizers.symbolic.command import convert

    print(convert(options.file, options.tokenizer, options.level, options.output))


def _config(options: argparse.Namespace) -> None:
    from etude import config
    from etude.reference import write_reference
    from etude.workflow import needs

    settings = config.read(config.DEFAULT, *options.configfile)
    needs.check_needs(settings)
    if settings.own_parts:
        from etude.plugin_check import try_parts

        print("tried:", *try_parts(settings))
    if options.write:
        home = config.DEFAULT.parents[1]
        write_reference(home / "config/README.md", home / "docs/cli.md", _parser())
    for note in (*needs.to_bring(settings), *needs.downloads(settings)):
        print(note)
    print("the configuration is valid")


def _clean(options: argparse.Namespace) -> None:
    from etude.clean.command import clean

    print("\n".join(clean(options.configfile, options.delete)))


def _doctor(options: argparse.Namespace) -> int:
    from etude.doctor.command import doctor

    text, works = doctor(options.configfile)
    print(text)
    return 0 if works else 1


def _verify(options: argparse.Namespace) -> int:
    from etude.proofs import verify_run

    text, works = verify_run(options.configfile, options.cores)
    print(text)
    return 0 if works else 1


def _graph(options: argparse.Namespace) -> None:
    from etude.config import DEFAULT
    from etude.report.graph import draw_graph

    draw_graph(DEFAULT.parents[1] / "docs/flow.svg")


def _resume(options: argparse.Namespace) -> None:
    from etude.runs import resume

    resume(options.args)


if __name__ == "__main__":
    sys.exit(main())
