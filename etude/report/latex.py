"""Text and tables in LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def escape(text: object) -> str:
    """Text as LaTeX prints it, letter for letter; line ends become spaces."""
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(str(text).split()))


def table(
    head: Sequence[str],
    blocks: Iterable[Sequence[Sequence[str]]],
    caption: str,
    label: str,
) -> str:
    """A floating table, a rule between its blocks. Cells are LaTeX already, the rest is text."""
    columns = "l" + "r" * (len(head) - 1)
    lines = [
        "% Needs \\usepackage{booktabs}. Written by `python -m etude paper`.",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape(caption)}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        f"    {' & '.join(map(escape, head))} \\\\",
    ]
    for rows in blocks:
        lines.append(r"    \midrule")
        lines += [f"    {' & '.join(row)} \\\\" for row in rows]
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]) + "\n"
