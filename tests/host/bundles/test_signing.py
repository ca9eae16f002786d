"""Keys and signatures are in the format of minisign: each program reads those of the other."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.inference import bundle as bundles
from epithermal_edge.signatures import minisign
from epithermal_host.bundles import signing
from epithermal_host.cli import main as cli

BUNDLE = Path(__file__).parents[2] / "golden" / "bucket-0.1.0"
PROGRAM = shutil.which("minisign")
real = pytest.mark.skipif(PROGRAM is None, reason="no minisign here (apt install minisign)")

# RFC 8032, section 7.1, TEST 1 and TEST 3: secret key, public key
RFC_KEYS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    ),
]


def run(*arguments, typed=b""):
    return subprocess.run(
        [PROGRAM, *map(str, arguments)], check=True, capture_output=True, timeout=300, input=typed
    )


def never():
    raise AssertionError("asked for a password")


@pytest.mark.parametrize(("seed", "public"), RFC_KEYS)
def test_the_public_key_of_a_secret_one_is_that_of_rfc_8032(seed, public):
    assert signing.make_key(bytes.fromhex(seed)).public.hex() == public


def test_a_key_is_written_read_and_signs_what_a_station_verifies(tmp_path):
    secret, public = signing.write_keys(tmp_path / "farm", signing.make_key(), None)
    assert os.stat(secret).st_mode & 0o777 == 0o600
    key = signing.read_secret_key(secret, never)
    trusted = [minisign.parse_public_key(public.read_text().splitlines()[1])]
    signature = signing.sign(key, b"content", "a comment")
    assert minisign.verify(b"content", signature, trusted) == trusted[0]
    assert minisign.parse(signature).comment == "a comment"
    assert signing.sign(key, b"content", "a comment") == signature
    with pytest.raises(BundleError):
        minisign.verify(b"Content", signature, trusted)


def test_a_key_that_is_there_is_never_overwritten(tmp_path):
    signing.write_keys(tmp_path / "farm", signing.make_key(), None)
    before = (tmp_path / "farm.key").read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        signing.write_keys(tmp_path / "farm", signing.make_key(), None)
    assert (tmp_path / "farm.key").read_bytes() == before


@real
def test_the_real_program_verifies_ours_and_signs_with_our_key(tmp_path):
    secret, public = signing.write_keys(tmp_path / "farm", signing.make_key(), None)
    file = tmp_path / "MANIFEST"
    file.write_bytes(b"content")
    key = signing.read_secret_key(secret, never)
    (tmp_path / "MANIFEST.minisig").write_bytes(signing.sign(key, b"content", "ours"))
    assert b"ours" in run("-V", "-m", file, "-p", public).stdout
    run("-S", "-s", secret, "-m", file, "-t", "theirs")
    trusted = [minisign.parse_public_key(public.read_text().splitlines()[1])]
    signature = (tmp_path / "MANIFEST.minisig").read_bytes()
    assert minisign.verify(b"content", signature, trusted)


@real
@pytest.mark.slow  # minisign's scrypt takes a gigabyte and some seconds, and each is done twice
def test_an_encrypted_key_of_the_real_program_is_read_with_its_password_alone(tmp_path):
    secret = tmp_path / "a.key"
    run("-G", "-p", tmp_path / "a.pub", "-s", secret, typed=b"rain\nrain\n")
    key = signing.read_secret_key(secret, lambda: "rain")
    trusted = [minisign.parse_public_key((tmp_path / "a.pub").read_text().splitlines()[1])]
    assert minisign.verify(b"x", signing.sign(key, b"x", ""), trusted)
    with pytest.raises(ConfigError, match="wrong password"):
        signing.read_secret_key(secret, lambda: "hail")


@real
@pytest.mark.slow  # minisign's scrypt takes a gigabyte and some seconds, and each is done twice
def test_an_encrypted_key_of_ours_is_read_by_the_real_program(tmp_path):
    secret, public = signing.write_keys(tmp_path / "farm", signing.make_key(), "rain")
    file = tmp_path / "x"
    file.write_bytes(b"content")
    run("-S", "-s", secret, "-m", file, typed=b"rain\n")
    assert run("-V", "-m", file, "-p", public)


@pytest.mark.parametrize("content", ["", "one line\n", "a\nb\n", "a\n" + "A" * 212 + "\n"])
def test_what_is_not_a_secret_key_is_reported(tmp_path, content):
    (tmp_path / "k.key").write_text(content)
    with pytest.raises(ConfigError, match=r"k\.key: not a minisign secret key"):
        signing.read_secret_key(tmp_path / "k.key", never)


def test_the_commands_make_a_key_and_sign_a_bundle_with_it(tmp_path, capsys):
    assert cli.main(["key", "--out", str(tmp_path / "farm"), "--no-password"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    trusted = [minisign.parse_public_key(line.split('"')[1])]
    path = tmp_path / "bucket-0.1.0"
    shutil.copytree(BUNDLE, path)
    assert cli.main(["sign", str(path), "--key", str(tmp_path / "farm.key")]) == 0
    assert trusted[0].name in capsys.readouterr().out
    manifest = (path / "MANIFEST").read_bytes()
    assert minisign.verify(manifest, (path / bundles.SIGNATURE).read_bytes(), trusted)
    assert bundles.open_bundle(path).sha256 == bundles.open_bundle(BUNDLE).sha256
    (path / "CARD.md").write_text("another\n")
    assert cli.main(["sign", str(path), "--key", str(tmp_path / "farm.key")]) == 3
