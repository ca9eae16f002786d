"""Make bundles for tests: `bucket` under other versions, sound or damaged."""

from __future__ import annotations

import csv
import os
import shutil

import numpy as np
from tests.support.rig import BUNDLE

from epithermal_edge.inference import estimator, runtime
from epithermal_edge.inference.bundle import manifest_text, open_bundle

NAN_MODEL = BUNDLE.parent / "nan.tflite"
THREE = BUNDLE.parent / "three-0.1.0"
RESIDUAL, SIGMA_FLOOR = 0.05, 0.001  # constants of its graph [m3 m-3]


def version(folder, number, spoil=False, base=BUNDLE):
    """Copy a bundle under another version; change its last golden answer if `spoil`."""
    path = folder / f"{base.name.partition('-')[0]}-{number}"
    shutil.copytree(base, path)
    text = (path / "bundle.toml").read_text().replace('version = "0.1.0"', f'version = "{number}"')
    (path / "bundle.toml").write_text(text)
    if spoil:
        golden = (path / "golden.csv").read_text().splitlines()
        golden[-1] = ",".join([*golden[-1].split(",")[:-2], "0.5", "0.5"])
        (path / "golden.csv").write_text("\n".join(golden) + "\n")
    return list_again(path)


def list_again(path):
    """Rewrite MANIFEST for the present files."""
    files = {p.name: p.read_bytes() for p in path.iterdir() if not p.name.startswith("MANIFEST")}
    (path / "MANIFEST").write_text(manifest_text(files))
    return path


def nan_bundle(folder, number):
    """Make a bundle that passes its golden vectors and returns NaN at the tests' station."""
    return with_model(version(folder, number), NAN_MODEL.read_bytes())


def changed_bundle(folder, number, constant, value):
    """Make a sound version of `three` with another value of a constant of its graph.

    `RESIDUAL` 0 makes it return the inversion; a larger `SIGMA_FLOOR` adds to its sigma.
    """
    path = version(folder, number, base=THREE)
    model, old = (path / "model.tflite").read_bytes(), np.float32(constant).tobytes()
    assert old in model
    return with_model(path, model.replace(old, np.float32(value).tobytes()))


def with_model(path, model):
    """Give a bundle another model and the golden answers of it."""
    (path / "model.tflite").write_bytes(model)
    old = open_bundle(list_again(path))
    answers = estimator.stream(runtime.load(old), old.cold_state(), old.golden_inputs)
    with (path / "golden.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    split = 1 + old.golden_inputs.shape[1]
    assert np.isfinite(answers).all()
    table = [[*row[:split], *(f"{v:.9g}" for v in y)] for row, y in zip(rows, answers, strict=True)]
    with (path / "golden.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *table])
    return list_again(path)


def flip(path, byte=None):
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if byte is None else byte] ^= 1
    path.write_bytes(data)


def links(folder):
    """Return the targets of the links current and previous."""
    return {
        n: os.readlink(folder / n) for n in ("current", "previous") if (folder / n).is_symlink()
    }
