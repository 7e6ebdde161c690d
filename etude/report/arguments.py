"""The commands about results and their options; light, since every command reads them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etude.arguments import place


def add_results(commands: Any, add_config: Callable[[argparse.ArgumentParser], None]) -> None:
    """`etude compare_experiments`, `table` and `paper`."""
    compare_experiments = commands.add_parser(
        "compare", help="two runs or two experiments, side by side"
    )
    compare_experiments.add_argument("a", help="a folder of results, or an experiment of results/")
    compare_experiments.add_argument("b", help="the same of the other")
    compare_experiments.set_defaults(run=_compare)

    table = commands.add_parser("table", help="the README's table; the table of an unfinished run")
    what = table.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--publish", type=place, metavar="RESULTS", help="take a run's figures to docs/results/"
    )
    what.add_argument(
        "--readme", action="store_true", help="render docs/results/ into the README's table"
    )
    what.add_argument(
        "--ratings", type=place, nargs="+", metavar="CSV", help="what listeners said, as its rows"
    )
    what.add_argument("--partial", type=place, help="what the workflow says that is complete")
    table.add_argument("--page", help="with --partial: the report page, made of the same")
    add_config(table)
    table.set_defaults(run=_table)

    paper = commands.add_parser("paper", help="LaTeX tables, figures and methods of a run")
    paper.add_argument("--results", type=place, default=Path("results"), help="the run (results)")
    paper.add_argument("--output", type=place, default=Path("paper"), help="folder (paper)")
    add_config(paper)
    paper.set_defaults(run=_paper)


def _compare(options: argparse.Namespace) -> None:
    from etude.results.compare import compare_experiments

    print(compare_experiments(options.a, options.b), end="")


def _table(options: argparse.Namespace) -> None:
    if options.partial:
        from etude.results.incomplete import write_incomplete, write_page

        print(write_incomplete(options.partial), end="")
        if options.page:
            write_page(options.page, options.configfile)
        return
    if options.ratings:
        from etude.results.incomplete import write_rated

        write_rated(options.ratings, options.configfile)
        return
    from etude import config
    from etude.report.published import publish, write_readme

    if options.publish:
        publish(options.publish, config.read(config.DEFAULT, *options.configfile))
    write_readme()


def _paper(options: argparse.Namespace) -> None:
    from etude import config
    from etude.report.paper import write_paper

    settings = config.read(config.DEFAULT, *options.configfile)
    write_paper(options.results, settings, options.output)
    print(options.output)
