"""Write the bundle of a retrained network: the parent's files, a new head, provenance."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference import bundle, runtime
from epithermal_host.bundles import release, tflite_head
from epithermal_host.bundles.hidden_states import compute_hidden_states
from epithermal_host.bundles.signing import SecretKey
from epithermal_host.bundles.tflite_head import Head
from epithermal_host.compute.crew import crew
from epithermal_host.compute.isolated_runtime import answer
from epithermal_host.retraining import text
from epithermal_host.retraining.result import Retraining
from epithermal_host.training.head import RESIDUAL

WATER_UNITS = (0, 2, 3)  # units of the head that estimate water: 0-30, 0-10, 30-60 cm
TOLERANCE = 2e-4  # of a head stored in 16 bits [m3 m-3]


def release_bundle(
    done: Retraining,
    to: Path,
    name: str = "",
    version: str = "",
    key: SecretKey | None = None,
) -> Path:
    """Write the retrained bundle to TO/NAME-VERSION and return its folder.

    Parameters
    ----------
    name, version :
        PARENT-SITE and the parent's version by default.
    key :
        Key that signs the bundle; None: unsigned.

    Raises
    ------
    ConfigError
        The name or version is invalid, or another bundle with both already exists in TO.
    BundleError
        The parent has no linear head, or the new model does not reproduce the fitted estimates.
    """
    name = name or f"{done.parent.name}-{done.site_file.name}"
    version = version or done.parent.version
    try:
        bundle.check_name(name, version)
    except BundleError as fault:
        raise ConfigError(str(fault)) from fault
    model = retrained_model(done)
    target = to / f"{name}-{version}"
    return release.write_bundle(_contents(done, name, version, model, to), target, key).path


def retrained_model(done: Retraining) -> bytes:
    """Return the parent's model file with the retrained head."""
    assert done.change is not None
    w, b = done.change
    content = (done.parent.path / done.parent.networks[0].file).read_bytes()
    head = tflite_head.read_head(content)
    weights, bias = head.weights.copy(), head.bias.copy()
    for unit in WATER_UNITS:  # the same change in every layer, so that they still add up to 0-30 cm
        weights[unit] += (w / RESIDUAL).astype(np.float32)
        bias[unit] += np.float32(b / RESIDUAL)
    return tflite_head.replace_head(content, Head(weights, bias))


def _contents(
    done: Retraining, name: str, version: str, model: bytes, to: Path
) -> dict[str, bytes]:
    parent = done.parent
    table: dict[str, Any] = tomllib.loads((parent.path / bundle.BUNDLE_TOML).read_text("utf-8"))
    table["name"], table["version"] = name, version
    table["provenance"]["retrained"] = text.provenance(done)
    report = text.report(done)
    card = (parent.path / bundle.CARD).read_text("utf-8")
    outputs = _golden_outputs(done, model, to)
    names = [feature.name for feature in parent.features]
    contents = {
        bundle.BUNDLE_TOML: tomli_w.dumps(table).encode("utf-8"),
        parent.networks[0].file: model,
        bundle.GOLDEN: release.golden_csv(names, parent.golden_inputs, outputs),
        bundle.CARD: f"{report}\n# Card of the parent\n\n{card}".encode(),
    }
    return {**contents, bundle.MANIFEST: bundle.manifest_text(contents).encode("ascii")}


def _golden_outputs(done: Retraining, model: bytes, to: Path) -> Any:
    """Run the new model on the parent's golden inputs; check that they match the fit."""
    assert done.change is not None
    w, b = done.change
    inputs = done.parent.golden_inputs
    path = to / f".{bundle.MODEL}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model)
    try:
        states = done.parent.networks[0].states
        outputs = answer(path, runtime.available()[0], inputs[None], states)[0]
    finally:
        path.unlink()
    with crew(2) as who:  # in other processes: TensorFlow may be loaded in this one
        restart = np.zeros((1, len(inputs)), dtype=bool)
        released = compute_hidden_states(done.parent, inputs[None], who, restart=restart)
    expected = released.theta[0] + released.h[0] @ w + b
    off = float(np.max(np.abs(outputs[:, 0] - expected)))
    if not off <= TOLERANCE:
        raise BundleError(
            f"{done.parent.path}: the model with the retrained head deviates from the fit by"
            f" {off:.2g} m3/m3 (allowed {TOLERANCE:g}): other tensors than its head were changed"
        )
    return outputs
