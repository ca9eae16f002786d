"""Test minisign signatures: those of the real program and of OpenSSL are valid, no others."""

import base64
import random
import shutil
import subprocess
import sys

import pytest
from tests.support.signing import Minisigner

from epithermal_edge.errors import BundleError, ConfigError
from epithermal_edge.signatures import minisign

PROGRAM = shutil.which("minisign")
real = pytest.mark.skipif(PROGRAM is None, reason="no minisign here (apt install minisign)")
CONTENT = b"0123  model.tflite\n" * 40


def run(*arguments, check=True):
    return subprocess.run(
        [PROGRAM, *map(str, arguments)], check=check, capture_output=True, timeout=300, input=b""
    )


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Minisigner(tmp_path_factory.mktemp("keys"))


def test_a_signature_of_a_trusted_key_is_verified(signer):
    trusted = [minisign.parse_public_key(signer.line)]
    assert minisign.verify(CONTENT, signer.signature(CONTENT), trusted) == trusted[0]


@real
def test_a_signature_of_the_real_program_is_verified(tmp_path):
    file = tmp_path / "MANIFEST"
    file.write_bytes(CONTENT)
    run("-G", "-W", "-p", tmp_path / "a.pub", "-s", tmp_path / "a.key")
    run("-S", "-s", tmp_path / "a.key", "-m", file, "-t", "rootzone 1.0.0, für Müller")
    comment, line = (tmp_path / "a.pub").read_text().splitlines()
    key = minisign.parse_public_key(line)
    assert int(comment.split()[-1], 16) == int(key.name, 16)  # it prints no leading zeros
    signature = (tmp_path / "MANIFEST.minisig").read_bytes()
    assert minisign.verify(CONTENT, signature, [key]) == key
    with pytest.raises(BundleError, match="does not fit"):
        minisign.verify(CONTENT + b"\n", signature, [key])


@real
def test_the_legacy_form_of_the_real_program_is_refused_with_its_remedy(tmp_path):
    file = tmp_path / "MANIFEST"
    file.write_bytes(CONTENT)
    run("-G", "-W", "-p", tmp_path / "a.pub", "-s", tmp_path / "a.key")
    run("-S", "-l", "-s", tmp_path / "a.key", "-m", file)
    key = minisign.parse_public_key((tmp_path / "a.pub").read_text().splitlines()[1])
    with pytest.raises(BundleError, match="without -l"):
        minisign.verify(CONTENT, (tmp_path / "MANIFEST.minisig").read_bytes(), [key])


@real
def test_the_real_program_verifies_what_the_tests_sign(signer, tmp_path):
    file = tmp_path / "MANIFEST"
    file.write_bytes(CONTENT)
    (tmp_path / "MANIFEST.minisig").write_bytes(signer.signature(CONTENT))
    assert b"a test" in run("-V", "-m", file, "-P", signer.line).stdout


def test_no_character_of_a_signature_or_its_comment_can_be_changed(signer):
    trusted, good = [minisign.parse_public_key(signer.line)], signer.signature(CONTENT)
    rng, begin = random.Random(7), good.index(b"\n") + 1
    for _ in range(150):
        bad = bytearray(good)
        bad[rng.randrange(begin, len(bad))] ^= 1 << rng.randrange(7)
        with pytest.raises(BundleError):
            minisign.verify(CONTENT, bytes(bad), trusted)


def test_a_signature_file_that_is_too_long_is_rejected_before_it_is_read(signer):
    spare = minisign.MAX_BYTES - len(signer.signature(CONTENT, comment=""))
    trusted = [minisign.parse_public_key(signer.line)]
    longest, longer = (signer.signature(CONTENT, comment="x" * n) for n in (spare, spare + 1))
    assert len(longest) == 8192 and minisign.verify(CONTENT, longest, trusted) == trusted[0]
    with pytest.raises(BundleError, match="too long"):
        minisign.verify(CONTENT, longer, trusted)


def test_a_signature_of_an_unknown_key_is_rejected(signer, tmp_path):
    other = Minisigner(tmp_path)
    name = minisign.parse_public_key(other.line).name
    with pytest.raises(minisign.UnknownKeyError, match=rf"key {name}, which is not in model\.keys"):
        minisign.verify(CONTENT, other.signature(CONTENT), [minisign.parse_public_key(signer.line)])


def test_a_foreign_key_with_the_id_of_a_trusted_one_is_rejected(signer, tmp_path):
    other = Minisigner(tmp_path)
    other.key_id = signer.key_id
    with pytest.raises(BundleError, match="does not fit"):
        minisign.verify(CONTENT, other.signature(CONTENT), [minisign.parse_public_key(signer.line)])


def test_a_damaged_installation_rejects_bundles_and_reports_why(signer, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(BundleError, match="no signature can be verified: cryptography: "):
        minisign.verify(
            CONTENT, signer.signature(CONTENT), [minisign.parse_public_key(signer.line)]
        )


@pytest.mark.parametrize("content", [b"", b"\n" * 4, b"\xff", b"x" * 10_000, b"a\nb\nc\nd\n"])
def test_an_invalid_signature_file_is_rejected(signer, content):
    with pytest.raises(BundleError, match="not a minisign signature"):
        minisign.verify(CONTENT, content, [minisign.parse_public_key(signer.line)])


def test_a_signature_without_the_words_of_a_trusted_comment_is_rejected(signer):
    lines = signer.signature(CONTENT).split(b"\n")
    lines[2] = lines[2].removeprefix(b"trusted comment: ")
    with pytest.raises(BundleError, match="no trusted comment"):
        minisign.verify(CONTENT, b"\n".join(lines), [minisign.parse_public_key(signer.line)])


WEAK = base64.b64encode(b"Ed" + bytes(8) + b"\1" + bytes(31)).decode()  # fits many signatures


@pytest.mark.parametrize("text", ["", "RW", "x" * 56, "RW" + "A" * 54 + "=", WEAK])
def test_an_invalid_public_key_is_rejected(text):
    with pytest.raises(ConfigError, match="no minisign public key"):
        minisign.parse_public_key(text)
