"""Nothing of a bundle is interpreted before its signature, its list and its hashes are verified."""

import os
import shutil
import time

import pytest
from tests.support.bundles import flip, links, list_again, version
from tests.support.rig import BUNDLE, ROOT, edge, station_toml
from tests.support.signing import Minisigner

from epithermal_edge.config.station_toml import Trust
from epithermal_edge.errors import BundleError
from epithermal_edge.inference.bundle import open_bundle
from epithermal_edge.rollout import rollout, state_file
from epithermal_edge.signatures import minisign

ANYONE = rollout.Request(Trust(unsigned=True))
ROOTZONE = ROOT / "models" / "rootzone-1.0.0"
SOON_S = 5.0

DEEP_KEY = ".".join("abcdefgh"[i % 8] for i in range(20_000)) + " = 1\n"
DEEP_TABLE = "[" + ".".join(["a"] * 20_000) + "]\n"
HOSTILE = {
    "bundle.toml": [
        ("a_key_of_20000_parts", DEEP_KEY),
        ("a_table_of_20000_parts", DEEP_TABLE),
        ("lists_5000_deep", "x = " + "[" * 5000 + "]" * 5000),
        ("an_integer_of_5000_digits", "schema = " + "9" * 5000),
        ("an_infinite_number", None),
        ("too_large", "# " + "x" * 400_000),
    ],
    "golden.csv": [
        ("a_field_of_200_kb", "step," + "x" * 200_000),
        ("60_mb", "1,2,3\n" * 10_000_000),
        ("a_nul", "step\0,"),
    ],
}
CASES = [(file, *case) for file, cases in HOSTILE.items() for case in cases]


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Minisigner(tmp_path_factory.mktemp("keys"))


def hostile(folder, file, content):
    """Make a bundle with such a file and the right hashes."""
    path = version(folder, "0.2.0")
    if content is None:
        text = (path / file).read_text()
        (path / file).write_text(text.replace("phases = 24", "phases = 1e999"))
        assert "1e999" in (path / file).read_text()
    else:
        (path / file).write_text(content)
    return list_again(path)


@pytest.mark.parametrize(("file", "name", "content"), CASES, ids=[case[1] for case in CASES])
def test_a_hostile_file_without_a_trusted_signature_is_not_read(
    tmp_path, signer, file, name, content
):
    folder, path = tmp_path / "models", hostile(tmp_path, file, content)
    trust = Trust((minisign.parse_public_key(signer.line),))
    begin = time.process_time()
    with pytest.raises(BundleError, match=r"MANIFEST\.minisig: missing"):
        rollout.install(folder, path, rollout.Request(trust))
    assert time.process_time() - begin < SOON_S and links(folder) == {}


@pytest.mark.parametrize(("file", "name", "content"), CASES, ids=[case[1] for case in CASES])
def test_a_hostile_file_with_right_hashes_is_one_message_soon(tmp_path, file, name, content):
    folder, path = tmp_path / "models", hostile(tmp_path, file, content)
    begin = time.process_time()
    with pytest.raises(BundleError) as fault:
        rollout.install(folder, path, ANYONE)
    assert time.process_time() - begin < SOON_S and links(folder) == {}
    text = str(fault.value)
    assert file in text and len(text) < 500 and "\n" not in text and fault.value.exit_code == 3


def test_the_hashes_are_checked_before_a_file_is_interpreted(tmp_path):
    path = version(tmp_path, "0.2.0")
    (path / "bundle.toml").write_text("no TOML at all [")
    with pytest.raises(BundleError, match="changed, its sha256 is not in MANIFEST"):
        rollout.install(tmp_path / "models", path, ANYONE)


def test_the_list_is_verified_before_the_hashes(tmp_path, signer):
    path = signer.sign_bundle(version(tmp_path, "0.2.0"))
    (path / "MANIFEST").write_bytes(os.urandom(100))
    flip(path / "model.tflite")
    trust = Trust((minisign.parse_public_key(signer.line),))
    with pytest.raises(BundleError, match="does not fit the content"):
        rollout.install(tmp_path / "models", path, rollout.Request(trust))


@pytest.mark.parametrize("name", ["extra.bin", "model-2.tflite", ".hidden"])
def test_a_file_that_the_list_does_not_name_is_refused(tmp_path, name):
    folder, path = tmp_path / "models", version(tmp_path, "0.2.0")
    (path / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=rf"{name}: not listed in MANIFEST: remove it"):
        rollout.install(folder, path, ANYONE)
    assert links(folder) == {} and not (folder / "bucket-0.2.0").exists()


def test_a_link_or_a_folder_in_a_bundle_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of root")
    path = version(tmp_path, "0.2.0")
    (path / "CARD.md").unlink()
    (path / "CARD.md").symlink_to(secret)
    with pytest.raises(BundleError, match="neither a bundle's folder nor a tar"):
        rollout.install(tmp_path / "models", path, ANYONE)
    (path / "CARD.md").unlink()
    (path / "CARD.md").mkdir()
    with pytest.raises(BundleError, match="not a plain file"):
        rollout.install(tmp_path / "models", path, ANYONE)


def test_the_released_bundle_is_installed_byte_for_byte(tmp_path):
    folder = tmp_path / "models"
    key = (ROOT / "models" / "epithermal.pub").read_text().splitlines()[1]
    trust = Trust((minisign.parse_public_key(key),))
    assert rollout.install(folder, ROOTZONE, rollout.Request(trust))[1] == "current"
    files = {p.name: p.read_bytes() for p in (folder / "current").iterdir()}
    assert files == {p.name: p.read_bytes() for p in ROOTZONE.iterdir()}
    assert open_bundle(folder / "current").shortfalls == ()


def test_a_damaged_copy_of_the_bundle_in_use_changes_nothing(tmp_path):
    folder = tmp_path / "models"
    rollout.install(folder, BUNDLE, ANYONE)
    before = state_file.read(folder)
    path = shutil.copytree(BUNDLE, tmp_path / "copy")
    flip(path / "model.tflite")
    assert rollout.install(folder, path, ANYONE)[1] == "current"
    assert state_file.read(folder) == before
    assert open_bundle(folder / "current").sha256 == open_bundle(BUNDLE).sha256


@pytest.mark.parametrize(("name", "number"), [("b" * 65, "0.2.0"), ("bucket", "1.0." + "9" * 5000)])
def test_a_name_or_version_too_long_for_a_folder_is_refused(tmp_path, name, number):
    path = version(tmp_path, "0.2.0")
    text = (path / "bundle.toml").read_text()
    text = text.replace('name = "bucket"', f'name = "{name}"', 1)
    (path / "bundle.toml").write_text(text.replace('"0.2.0"', f'"{number}"', 1))
    with pytest.raises(BundleError, match="over 64 characters"):
        rollout.install(tmp_path / "models", list_again(path), ANYONE)


def test_the_command_reports_a_hostile_bundle_with_exit_3(tmp_path):
    toml = station_toml(tmp_path, bundle=tmp_path / "models" / "current", model="unsigned = true\n")
    path = hostile(tmp_path, "bundle.toml", None)
    done = edge("model", "install", toml, path)
    assert done.returncode == 3 and done.stderr.count("\n") == 1, done.stderr
