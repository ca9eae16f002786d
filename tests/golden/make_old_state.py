"""Write tests/golden/state-0.1.0.json, a state stored by version 0.1.0.

    git worktree add /tmp/old 104d7f1
    PYTHONPATH=/tmp/old/edge/src python tests/golden/make_old_state.py

It runs with that version alone, in which h and c were fields of the state.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

from epithermal_edge.bundle import open_bundle
from epithermal_edge.snapshot import to_parts

from epithermal_edge import engine, runtime, simulator

HERE = Path(__file__).resolve().parent
START_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z
DAYS, SEED = 0.25, 3


def main() -> None:
    """Run rootzone-1.0.0 on six hours of the simulated detector and store its state."""
    bundle = open_bundle(HERE.parents[1] / "models" / "rootzone-1.0.0")
    station = engine.Engine(simulator.SITE, bundle, runtime.load(bundle.model_path, "tflite"))
    state = engine.start(station)
    for record in simulator.records(DAYS, SEED, START_S):
        state, _ = engine.advance(station, state, record)
    parts = {
        name: {
            "layout": part.layout,
            "crc32": part.crc32,
            "data": base64.b64encode(zlib.compress(part.data, 9)).decode(),
        }
        for name, part in to_parts(state, station.fingerprint()).items()
    }
    text = json.dumps({"made_for": station.fingerprint(), "parts": parts}, indent=1)
    (HERE / "state-0.1.0.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
