"""`python -m etude verify_run`: pretrained weights of a run, proven before anything is trained.

The proofs are rules of the workflow (verify_models, verify_text, verify_embedding), which a run
makes anyway before it uses weights. Here they alone are made, with what they need: the weights are
fetched, and of the music what a tokenizer or an embedding is tried on. What each check found stands
in the tables; a failed one stops its rule, whose message says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etude import config
from etude.runs import run_workflow
from etude.storage import read_csv
from etude.workflow import needs


def verify_run(configfiles: Sequence[Path], cores: int) -> tuple[str, bool]:
    """Make all proofs of the configured run; a line for each, and whether all checks passed.

    Raises:
        UserError: the configuration is not valid, or what it names is not there.
    """
    settings = config.read(config.DEFAULT, *configfiles)
    used = needs.weights_used(settings)
    proofs = {f"results/{proof}": name for name, of in used.items() for proof in of}
    if not proofs:
        return "nothing to prove: this run uses no weights that others trained", True
    needs.check_needs(settings)
    status = run_workflow(cores, "--keep-going", *proofs, configfiles=configfiles)
    found = [proof_summary(name, Path(proof)) for proof, name in proofs.items()]
    lines = "\n".join(line for line, _ in found)
    return lines, status == 0 and all(passed for _, passed in found)


def proof_summary(name: str, proof: Path) -> tuple[str, bool]:
    """What a proof says of weights in a line, and whether all its checks passed."""
    if not proof.is_file():
        return f"{name}: FAILED, the messages above say why ({proof} was not made)", False
    rows = list(read_csv(proof))
    failed = [f"{row['check']} {row['value']}" for row in rows if row["passed"] != "true"]
    if failed:
        return f"{name}: FAILED: {', '.join(failed)} ({proof})", False
    return f"{name}: {len(rows)} checks passed ({proof})", True
