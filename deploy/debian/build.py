"""Debian packages of the station, each with the wheels of its architecture: `make deb`.

A package holds one virtual environment for each Python that Debian's releases have; which one is
used is whichever Python is there. The same commit gives the same bytes.
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
from packaging.version import Version

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEPLOY = ROOT / "deploy"
NAME = "epithermal-edge"
PYTHONS = ("3.11", "3.13")  # of Debian 12 and 13, and of Raspberry Pi OS of the same name
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
GLIBC = ("2_34", "2_31", "2_28", "2_27", "2_24", "2_17")  # Debian 12 has 2.36; of wheels' tags
UNUSED = (".data/", "/tests/", "/__pycache__/", "libLiteRtWebGpuAccelerator.so")  # of wheels
ENVIRONMENTS = "usr/lib/epithermal"
PACKAGED = {  # what the example says for a folder of one's own, and what is so in a package
    'state_dir = "state" ': 'state_dir = "/var/lib/epithermal" ',
    'bundle = "model/current" ': 'bundle = "/var/lib/epithermal/models/current" ',
}


def applies(requirement: Requirement, python: str, machine: str) -> bool:
    """Whether a requirement's marker holds on that Python and machine, not on these here."""
    there = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": machine,
    }
    return requirement.marker is None or requirement.marker.evaluate(there)


def pins(python: str, machine: str) -> dict[str, str]:
    """Name and version of what constraints.txt pins there."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        normal(r.name): str(r.specifier).removeprefix("==")
        for r in found
        if applies(r, python, machine)
    }


def normal(name: str) -> str:
    """A distribution's name as pip compares it."""
    return name.lower().replace("_", "-").replace(".", "-")


def wheels(python: str, machine: str, folder: Path) -> list[Path]:
    """The station's dependencies for that Python and machine, every one of them pinned."""
    with (ROOT / "edge" / "pyproject.toml").open("rb") as file:
        wanted = [Requirement(r) for r in tomllib.load(file)["project"]["dependencies"]]
    known = pins(python, machine)
    folder.mkdir(parents=True, exist_ok=True)
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in known.items()))
    tags = [f"manylinux_{tag}_{machine}" for tag in GLIBC] + [f"manylinux2014_{machine}"]
    pip(
        "download", "--dest", folder, "--only-binary", ":all:", "--implementation", "cp",
        "--python-version", python, "--constraint", constraints,
        *(word for tag in tags for word in ("--platform", tag)),
        *(f"{r.name}{r.specifier}" for r in wanted if applies(r, python, machine)),
    )  # fmt: skip
    found = sorted(folder.glob("*.whl"))
    for wheel in found:
        name, version = wheel.name.split("-")[:2]
        if known.get(normal(name)) != version:
            sys.exit(f"{wheel.name}: not pinned for Python {python}: add it to constraints.txt")
    return found


def pip(*words: object) -> None:
    """One command of pip."""
    options = ("--quiet", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", *map(str, words), *options]
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)


def station_version() -> str:
    """Return the version of the edge distribution, from the one file that has it."""
    source = ROOT / "edge" / "src" / "epithermal_edge" / "__init__.py"
    return str(runpy.run_path(str(source))["__version__"])


def station(folder: Path) -> Path:
    """The wheel of the edge distribution."""
    folder.mkdir(parents=True, exist_ok=True)
    pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT / "edge")
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment(root: Path, python: str, packed: list[Path]) -> None:
    """A virtual environment on Debian's own Python, as `python3 -m venv` would make it."""
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
            kept = [name for name in names if not any(part in name for part in UNUSED)]
            archive.extractall(packages, kept)


def settings(root: Path) -> None:
    """The example with the package's own folders, as the configuration to begin with."""
    text = (DEPLOY / "station.example.toml").read_text("utf-8")
    for before, after in PACKAGED.items():
        if text.count(before) != 1:
            sys.exit(f"station.example.toml: {before!r} must be there once: see PACKAGED")
        text = text.replace(before, after)
    put(root / "etc/epithermal/station.toml", text.encode())


def put(path: Path, content: bytes, mode: int = 0o644) -> None:
    """A file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def newest_model() -> Path:
    """The released model that a new station begins with."""
    found = (ROOT / "models").glob("rootzone-*/MANIFEST")
    return max((p.parent for p in found), key=lambda p: Version(p.name.partition("-")[2]))


def documents(root: Path, version: str, date: int) -> None:
    """Manual, pages, copyright, changes, and of deploy/ what is an example."""
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
    """gzip without name and time."""
    return gzip.compress(content, 9, mtime=0)


def stage(root: Path, arch: str, version: str, date: int, work: Path) -> None:
    """All files of a package."""
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
    """DEBIAN/: what dpkg reads."""
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
    """Modes and times that do not tell who built it, and when."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (date, date), follow_symlinks=False)


def build(arch: str, revision: int, out: Path) -> Path:
    """One package."""
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
    """When the source was committed [s]."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Build what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append", choices=MACHINES, help="both, if none is named")
    parser.add_argument("--revision", type=int, default=1, help="of the package (1)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "deb", help="(build/deb)")
    asked = parser.parse_args()
    for arch in asked.arch or MACHINES:
        package = build(arch, asked.revision, asked.out)
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        size_mb = package.stat().st_size / 1e6
        sys.stdout.write(f"{package}  {size_mb:.1f} MB  sha256 {digest}\n")


if __name__ == "__main__":
    main()
