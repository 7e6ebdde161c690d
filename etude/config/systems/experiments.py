"""An experiment: one of the systems, told apart by its `system`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from etude.config.systems.audiolm import AudioLm
from etude.config.systems.external import External
from etude.config.systems.symbolic_lm import SymbolicLm

Experiment = Annotated[AudioLm | SymbolicLm | External, Field(discriminator="system")]
TrainedHere = AudioLm | SymbolicLm  # systems whose networks Étude trains
STAGES = (*AudioLm.STAGES, *SymbolicLm.STAGES)  # of all systems
