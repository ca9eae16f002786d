"""Build the station's Debian packages, each with the wheels of its architecture: `make deb`.

A package contains one virtual environment per Python version of the supported Debian releases; the
program uses the one whose Python is installed. Builds are reproducible: the same commit gives the
same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.utils import formatdate
from pathlib import Path

from man import manual
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename
from packaging.version import Version

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEPLOY = ROOT / "deploy"
NAME = "epithermal-edge"
PYTHONS = ("3.11", "3.13")  # Debian 12 and 13, and Raspberry Pi OS of the same name
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
GLIBC = ("2_34", "2_31", "2_28", "2_27", "2_24", "2_17")  # in wheel tags; Debian 12 has 2.36
UNUSED = (".data/", "/tests/", "/__pycache__/", "libLiteRtWebGpuAccelerator.so")  # in wheels
HASHES = HERE / "wheels.sha256"  # of every wheel in a package, `<sha256>  <Python>/<file>`
UPDATE = "after a review add the published sha256 to deploy/debian/wheels.sha256"
ENVIRONMENTS = "usr/lib/epithermal"
PACKAGED = {  # text of the example, and its replacement in the package
    'state_dir = "state" ': 'state_dir = "/var/lib/epithermal" ',
    'bundle = "model/current" ': 'bundle = "/var/lib/epithermal/models/current" ',
}


def applies(requirement: Requirement, python: str, machine: str) -> bool:
    """Return whether a requirement's marker holds on the target Python and machine."""
    there = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": machine,
    }
    return requirement.marker is None or requirement.marker.evaluate(there)


def pins(python: str, machine: str) -> dict[str, str]:
    """Return the versions that constraints.txt pins for the target, by name."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        normal(r.name): str(r.specifier).removeprefix("==")
        for r in requirements
        if applies(r, python, machine)
    }


def normal(name: str) -> str:
    """Return a distribution's name in the form that pip compares."""
    return name.lower().replace("_", "-").replace(".", "-")


def fits(tag: Tag, python: str, machine: str) -> bool:
    """Return whether a wheel of this tag runs on the target Python and machine."""
    own = f"cp{python.replace('.', '')}"
    runs = tag.interpreter in ("py3", own) or tag.abi == "abi3"  # abi3: from an earlier Python on
    return runs and (tag.platform == "any" or tag.platform.endswith(f"_{machine}"))


def hashes(python: str, machine: str) -> dict[str, tuple[str, str]]:
    """Return version and sha256 of each wheel in wheels.sha256 for the target, by name."""
    found, pinned = {}, pins(python, machine)
    for line in HASHES.read_text("utf-8").splitlines():
        sha256, file = line.split()
        folder, _, file = file.partition("/")
        name, version, _, tags = parse_wheel_filename(file)
        if folder != python or not any(fits(tag, python, machine) for tag in tags):
            continue
        if pinned.get(name) != str(version):
            sys.exit(f"{file}: constraints.txt pins {pinned.get(name)}: {UPDATE}")
        found[str(name)] = (str(version), sha256)
    return found


def wheels(python: str, machine: str, folder: Path) -> list[Path]:
    """Download the station's dependencies for a Python and machine.

    Each is pinned in constraints.txt and its content in wheels.sha256; pip refuses any other file.
    """
    with (ROOT / "edge" / "pyproject.toml").open("rb") as file:
        wanted = [Requirement(r) for r in tomllib.load(file)["project"]["dependencies"]]
    known = hashes(python, machine)
    for name in (normal(r.name) for r in wanted if applies(r, python, machine)):
        if name not in known:
            sys.exit(
                f"{name}: no wheel for Python {python} on {machine} in {HASHES.name}: {UPDATE}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "requirements.txt"
    listed.write_text("".join(f"{n}=={v} --hash=sha256:{h}\n" for n, (v, h) in known.items()))
    tags = [f"manylinux_{tag}_{machine}" for tag in GLIBC] + [f"manylinux2014_{machine}"]
    pip(
        "download", "--dest", folder, "--only-binary", ":all:", "--implementation", "cp",
        "--python-version", python, "--require-hashes", "--requirement", listed,
        *(word for tag in tags for word in ("--platform", tag)),
    )  # fmt: skip
    return sorted(folder.glob("*.whl"))


def pip(*words: object, python_path: Path | None = None) -> None:
    """Run one pip command, with the modules of a folder if given; exit if it fails."""
    options = ("--quiet", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", *map(str, words), *options]
    paths = {} if python_path is None else {"PYTHONPATH": str(python_path)}
    environment = {**os.environ, **paths}
    done = subprocess.run(command, check=False, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stderr.strip()}\npip {words[0]} failed; for changed wheels: {UPDATE}")


def station_version() -> str:
    """Return the version of the edge distribution, from the one file that has it."""
    source = ROOT / "edge" / "src" / "epithermal_edge" / "__init__.py"
    return str(runpy.run_path(str(source))["__version__"])


def station(folder: Path) -> Path:
    """Build the wheel of the edge distribution with tools that are pinned by hash."""
    folder.mkdir(parents=True, exist_ok=True)
    tools = folder / "tools"
    only = ("--only-binary", ":all:", "--require-hashes", "--no-deps")
    pip("install", "--target", tools, *only, "--requirement", HERE / "build-requirements.txt")
    pip(
        "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT / "edge",
        python_path=tools,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment(root: Path, python: str, packed: list[Path]) -> None:
    """Create a virtual environment for Debian's Python, equal to that of `python3 -m venv`."""
    home = root / ENVIRONMENTS / f"python{python}"
    packages = home / "lib" / f"python{python}" / "site-packages"
    packages.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(f"/usr/bin/python{python}")
    text = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    (home / "pyvenv.cfg").write_text(text)
    for wheel in packed:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            used = [name for name in names if not any(part in name for part in UNUSED)]
            archive.extractall(packages, used)


def settings(root: Path) -> None:
    """Write the initial configuration: the example with the folders of the package."""
    text = (DEPLOY / "station.example.toml").read_text("utf-8")
    for before, after in PACKAGED.items():
        if text.count(before) != 1:
            sys.exit(f"station.example.toml: {before!r} must occur exactly once: see PACKAGED")
        text = text.replace(before, after)
    put(root / "etc/epithermal/station.toml", text.encode())


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file, and create its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def newest_model() -> Path:
    """Return the folder of the newest released model, which a new station starts with."""
    manifests = (ROOT / "models").glob("rootzone-*/MANIFEST")
    return max((p.parent for p in manifests), key=lambda p: Version(p.name.partition("-")[2]))


def documents(root: Path, version: str, date: int) -> None:
    """Write man page, docs, copyright, changelog, and the examples of deploy/."""
    share = root / "usr/share"
    about = share / "doc" / NAME
    put(share / "lintian/overrides" / NAME, (HERE / "lintian-overrides").read_bytes())
    put(share / "man/man1" / f"{NAME}.1.gz", packed(manual(date).encode()))
    put(about / "copyright", (HERE / "copyright").read_bytes())
    put(about / "changelog.gz", packed((ROOT / "CHANGELOG.md").read_bytes()))
    maintainer = next(
        line.partition(": ")[2]
        for line in (HERE / "control").read_text("utf-8").splitlines()
        if line.startswith("Maintainer")
    )
    entry = (
        f"{NAME} ({version}) stable; urgency=medium\n\n  * What changed is in changelog.gz.\n\n"
        f" -- {maintainer}  {formatdate(date)}\n"
    )
    put(about / "changelog.Debian.gz", packed(entry.encode()))
    for page in (*(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("mqtt/*.json")):
        put(about / page.relative_to(ROOT), page.read_bytes())
    own = {"debian", "install.sh", f"{NAME}.service", "70-epithermal-edge.rules"}
    for source in sorted(DEPLOY.iterdir()):
        if source.is_dir() and source.name not in own:
            shutil.copytree(source, about / "examples" / source.name)
        elif source.is_file() and source.name not in own:
            put(about / "examples" / source.name, source.read_bytes(), source.stat().st_mode)


def packed(content: bytes) -> bytes:
    """Return the gzip of a content, without name and time."""
    return gzip.compress(content, 9, mtime=0)


def stage(root: Path, arch: str, version: str, date: int, work: Path) -> None:
    """Write all files of a package below `root`."""
    machine = MACHINES[arch]
    own = station(work / "edge")
    for python in PYTHONS:
        folder = work / f"wheels-{arch}-{python}"
        environment(root, python, [*wheels(python, machine, folder), own])
    put(root / "usr/bin" / NAME, (HERE / NAME).read_bytes(), 0o755)
    units, rules = root / "usr/lib/systemd/system", root / "usr/lib/udev/rules.d"
    put(units / f"{NAME}.service", (DEPLOY / f"{NAME}.service").read_bytes())
    put(rules / "70-epithermal-edge.rules", (DEPLOY / "70-epithermal-edge.rules").read_bytes())
    model = newest_model()
    shutil.copytree(model, root / "usr/share/epithermal/models" / model.name)
    settings(root)
    documents(root, version, date)


def control(root: Path, arch: str, version: str) -> None:
    """Write DEBIAN/, the control files for dpkg."""
    folder = root / "DEBIAN"
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    size_kb = sum(-(-p.stat().st_size // 1024) for p in files)
    text = (HERE / "control").read_text("utf-8")
    text = text.format(version=version, arch=arch, size_kb=size_kb)
    put(folder / "control", text.encode())
    put(folder / "conffiles", b"/etc/epithermal/station.toml\n")
    put(folder / "triggers", (HERE / "triggers").read_bytes())
    sums = (f"{hashlib.md5(p.read_bytes()).hexdigest()}  {p.relative_to(root)}\n" for p in files)
    put(folder / "md5sums", "".join(sums).encode())
    for script in ("preinst", "postinst", "prerm", "postrm"):
        put(folder / script, (HERE / script).read_bytes(), 0o755)


def even(root: Path, date: int) -> None:
    """Set modes and times that do not depend on who built the package, and when."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (date, date), follow_symlinks=False)


def build(arch: str, revision: int, out: Path) -> Path:
    """Build one package and return its path."""
    version = f"{station_version()}-{revision}"
    date = int(os.environ.get("SOURCE_DATE_EPOCH") or commit_date())
    os.environ["SOURCE_DATE_EPOCH"] = str(date)
    root, package = out / f"root-{arch}", out / f"{NAME}_{version}_{arch}.deb"
    for folder in (root, out / "edge", *out.glob(f"wheels-{arch}-*")):
        shutil.rmtree(folder, ignore_errors=True)
    root.mkdir(parents=True)
    stage(root, arch, version, date, out)
    control(root, arch, version)
    even(root, date)
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--threads-max=1", "--build"]
    subprocess.run([*command, root, package], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(root)
    return package


def commit_date() -> str:
    """Return the Unix time of the last commit [s]."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Build the requested packages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append", choices=MACHINES, help="default: both")
    parser.add_argument("--revision", type=int, default=1, help="revision of the package (1)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "deb", help="folder (build/deb)"
    )
    options = parser.parse_args()
    for arch in options.arch or MACHINES:
        package = build(arch, options.revision, options.out)
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        size_mb = package.stat().st_size / 1e6
        sys.stdout.write(f"{package}  {size_mb:.1f} MB  sha256 {digest}\n")


if __name__ == "__main__":
    main()
