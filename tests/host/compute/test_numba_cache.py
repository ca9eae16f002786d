"""Machine code is cached for the next process, and importing a kernel writes no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

USE = """
import json, sys
import numpy as np
from epithermal_host.compute.numba_cache import KERNELS, cache_folder
from epithermal_host.soil import richards, richards_kernel, richards_time
from epithermal_host.neutrons import cosmic, cosmic_kernel

bottom = np.array([10.0, 30.0])
rate = None
if sys.argv[1] == "call":
    rate = cosmic.neutron_rate(bottom, np.full(2, 0.2), np.full(2, 1.4), np.zeros(2), 1000.0)
kernels = [k for m in (cosmic_kernel, richards_kernel, richards_time) for k in vars(m).values()
           if hasattr(k, "stats")]
print(json.dumps({
    "hits": sum(sum(k.stats.cache_hits.values()) for k in kernels),
    "misses": sum(sum(k.stats.cache_misses.values()) for k in kernels),
    "rate": None if rate is None else float(rate),
}))
"""


def run(folder, what, **variables):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder), **variables}
    done = subprocess.run([sys.executable, "-c", USE, what], env=env, check=True,
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    return json.loads(done.stdout)


def test_importing_the_kernels_writes_no_file(tmp_path):
    assert run(tmp_path / "cache", "import") == {"hits": 0, "misses": 0, "rate": None}
    assert not (tmp_path / "cache").exists()


def test_a_process_loads_kernels_that_another_compiled(tmp_path):
    first = run(tmp_path, "call")
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("kernels-") and list(folder.rglob("*.nbc"))
    assert first["misses"] > 0 and first["hits"] == 0
    second = run(tmp_path, "call")
    assert second["hits"] > 0 and second["misses"] == 0
    assert second["rate"] == first["rate"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_only_disables_the_cache(tmp_path):
    tmp_path.chmod(0o500)
    assert run(tmp_path / "cache", "call")["rate"] > 0.0


def test_where_the_folder_is_a_file_the_process_compiles_for_itself(tmp_path):
    (tmp_path / "cache").write_text("")
    assert run(tmp_path / "cache", "call", TMPDIR=str(tmp_path))["rate"] > 0.0
    assert list(tmp_path.glob("epithermal-*"))


def test_without_compilation_the_kernels_are_plain_functions(tmp_path):
    plain = run(tmp_path, "call", NUMBA_DISABLE_JIT="1")
    assert plain["rate"] == pytest.approx(run(tmp_path, "call")["rate"], rel=1e-9)
    assert np.isfinite(plain["rate"])
