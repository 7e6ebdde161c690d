"""What visitors continue: decoded by a limited process, and rewritten."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from etude.studio.responses import FULL, Problem
from etude.studio.store import Store, new_id

DECODER = Path(__file__).with_name("decode.py")
SECONDS = 25.0  # of a decoder
AT_ONCE = 2
CANNOT = "This file cannot be read."


def kind_of(data: bytes) -> str:
    """`midi` or `sound`, by the bytes; names and declared types are not asked."""
    wrapped = data[:4] == b"RIFF" and data[8:12] == b"RMID"
    return "midi" if data[:4] == b"MThd" or wrapped else "sound"


class Decoders:
    """Runs decoders, two at a time."""

    def __init__(self, store: Store, most_s: float, seconds: float = SECONDS) -> None:
        self.store, self.most_s, self.seconds = store, most_s, seconds
        self.places = asyncio.Semaphore(AT_ONCE)

    async def prime(self, visitor: str, kind: str, data: bytes) -> dict[str, Any]:
        """Decode what came, and keep it as a prime of this visitor's.

        Raises:
            Problem: it cannot be used, or took too long; nothing is left of it.
        """
        name = new_id()
        target = self.store.primes / name
        source = target.with_suffix(".upload")
        kept = False
        try:
            source.write_bytes(data)
            async with self.places:
                facts = await self._run(kind, source, target)
            self.store.add_prime(visitor, name, facts["seconds"], facts["notes"])
            kept = True
        finally:
            source.unlink(missing_ok=True)
            if not kept:
                for file in self.store.primes.glob(f"*{name}*"):
                    file.unlink(missing_ok=True)
        return {"id": name, **facts}

    async def _run(self, kind: str, source: Path, target: Path) -> dict[str, Any]:
        words = (str(word) for word in (DECODER, kind, source, target, self.most_s))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), self.seconds)
        except TimeoutError:
            raise Problem(422, f"{CANNOT} Reading it took too long.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            facts = json.loads(out.splitlines()[-1])
        except (IndexError, ValueError):
            raise Problem(422, CANNOT) from None
        if "full" in facts:
            raise Problem(507, FULL)
        if "refused" in facts:
            raise Problem(422, facts["refused"])
        return dict(facts)
