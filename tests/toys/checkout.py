"""A copy of the checkout with the toy systems in it: new files, and a line in each registry."""

from __future__ import annotations

import difflib
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "tests" / "toys"
CLASSES = {"toy_latents": "ToyLatents", "toy_text": "ToyText"}
LIGHT, HEAVY = "etude/config/systems", "etude/systems"  # below a checkout
REGISTRIES = {f"{LIGHT}/__init__.py", f"{HEAVY}/__init__.py"}


def files_of(checkout: Path) -> list[str]:
    """What git knows of the checkout, or would take up."""
    words = ["git", "-C", str(checkout), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return sorted({line for line in listed.splitlines() if (checkout / line).is_file()})


def copy_checkout(folder: Path) -> Path:
    """All files of this checkout, without its history and results."""
    for name in files_of(ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def add_system(checkout: Path, name: str) -> None:
    """What CONTRIBUTING's recipe says: a file, a folder, a line in each of two registries."""
    shutil.copy(TOYS / "config" / f"{name}.py", checkout / LIGHT)
    shutil.copytree(TOYS / "systems" / name, checkout / HEAVY / name)
    light = f'    "{name}": "etude.config.systems.{name}:{CLASSES[name]}",\n'
    heavy = f'    "{name}": "etude.systems.{name}.system:{CLASSES[name]}System",\n'
    for registry, line in ((LIGHT, light), (HEAVY, heavy)):
        path = checkout / registry / "__init__.py"
        head, begin, rest = path.read_text(encoding="utf-8").partition("MEMBERS = {\n")
        members, end, tail = rest.partition("}\n")
        assert begin
        assert end
        path.write_text(head + begin + members + line + end + tail, encoding="utf-8")


def with_toys(folder: Path) -> Path:
    """A copy with both systems."""
    copy_checkout(folder)
    for name in CLASSES:
        add_system(folder, name)
    return folder


def changed_lines(checkout: Path) -> dict[str, list[str]]:
    """Of each file that this checkout has too: the lines that were added (+) or taken (-)."""
    changed = {}
    for name in files_of(ROOT):
        old, new = ((place / name).read_bytes() for place in (ROOT, checkout))
        if old != new:
            lines = difflib.ndiff(old.decode().splitlines(), new.decode().splitlines())
            changed[name] = [line for line in lines if line[0] in "+-"]
    return changed


def new_files(checkout: Path) -> set[str]:
    """Files that this checkout does not have."""
    every = {p.relative_to(checkout).as_posix() for p in checkout.rglob("*") if p.is_file()}
    return {name for name in every - set(files_of(ROOT)) if "__pycache__" not in name}
