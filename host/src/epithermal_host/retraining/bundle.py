"""The bundle of a retrained network: the parent's files with another head, and where it is from."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference import bundle, runtime
from epithermal_host.bundles import release, tflite_head
from epithermal_host.bundles.hidden_states import hidden
from epithermal_host.bundles.signing import SecretKey
from epithermal_host.bundles.tflite_head import Head
from epithermal_host.compute.crew import crew
from epithermal_host.compute.isolated_runtime import answer
from epithermal_host.retraining import text
from epithermal_host.retraining.result import Retraining
from epithermal_host.training.head import RESIDUAL

MOVED = (0, 2, 3)  # units of the head that tell water: 0-30, 0-10, 30-60 cm
EXACT = 2e-4  # [m3 m-3] of a head that is kept in 16 bits


def release_bundle(
    done: Retraining,
    to: Path,
    name: str = "",
    version: str = "",
    key: SecretKey | None = None,
) -> Path:
    """Write TO/NAME-VERSION; its folder.

    Parameters
    ----------
    name, version :
        PARENT-SITE and the parent's by default.
    key :
        Signs the bundle; None: it is not signed.

    Raises
    ------
    ConfigError
        The name or version is not allowed, or another bundle of that name and version is there.
    BundleError
        The parent has no head to move, or the bundle does not answer as was fitted.
    """
    name = name or f"{done.parent.name}-{done.site_file.name}"
    version = version or done.parent.version
    try:
        bundle.check_name(name, version)
    except BundleError as fault:
        raise ConfigError(str(fault)) from fault
    model = moved(done)
    target = to / f"{name}-{version}"
    return release.place(_contents(done, name, version, model, to), target, key).path


def moved(done: Retraining) -> bytes:
    """The parent's model file with the retrained head."""
    assert done.change is not None
    w, b = done.change
    content = (done.parent.path / done.parent.networks[0].file).read_bytes()
    head = tflite_head.read_head(content)
    weights, bias = head.weights.copy(), head.bias.copy()
    for unit in MOVED:  # every layer by the same, so that they still add up
        weights[unit] += (w / RESIDUAL).astype(np.float32)
        bias[unit] += np.float32(b / RESIDUAL)
    return tflite_head.with_head(content, Head(weights, bias))


def _contents(
    done: Retraining, name: str, version: str, model: bytes, to: Path
) -> dict[str, bytes]:
    parent = done.parent
    table: dict[str, Any] = tomllib.loads((parent.path / bundle.BUNDLE_TOML).read_text("utf-8"))
    table["name"], table["version"] = name, version
    table["provenance"]["retrained"] = text.provenance(done)
    told = text.report(done)
    card = (parent.path / bundle.CARD).read_text("utf-8")
    outputs = _outputs(done, model, to)
    names = [feature.name for feature in parent.features]
    contents = {
        bundle.BUNDLE_TOML: tomli_w.dumps(table).encode("utf-8"),
        parent.networks[0].file: model,
        bundle.GOLDEN: release.golden_csv(names, parent.golden_inputs, outputs),
        bundle.CARD: f"{told}\n# Card of the parent\n\n{card}".encode(),
    }
    return {**contents, bundle.MANIFEST: bundle.manifest_text(contents).encode("ascii")}


def _outputs(done: Retraining, model: bytes, to: Path) -> Any:
    """The parent's golden stream by the new model; it must be what was fitted, nothing else."""
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
    with crew(2) as who:  # not in this process, which has TensorFlow
        said = hidden(done.parent, inputs[None], who, restart=np.zeros((1, len(inputs)), bool))
    expected = said.theta[0] + said.h[0] @ w + b
    off = float(np.max(np.abs(outputs[:, 0] - expected)))
    if not off <= EXACT:
        raise BundleError(
            f"{done.parent.path}: its head is not what was taken for it: off by {off:.2g}"
        )
    return outputs
