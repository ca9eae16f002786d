"""Test Ed25519: vectors of RFC 8032, signatures of OpenSSL, flipped bits, unsafe keys."""

import json
import random
import subprocess
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from epithermal_edge.errors import ConfigError
from epithermal_edge.signatures import ed25519

L = 2**252 + 27742317777372353535851937790883648493  # order of the base point; RFC 8032, table 1

# RFC 8032, section 7.1: public key, message, signature of TEST 1, 2, 3 and SHA(abc)
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_the_vectors_of_rfc_8032_are_verified(vector):
    key, message, signature = map(bytes.fromhex, vector)
    assert ed25519.verify(key, message, signature)


def test_no_bit_of_key_message_or_signature_can_be_changed():
    rng = random.Random(8032)
    for i in range(96):
        parts = [bytearray(bytes.fromhex(x)) for x in VECTORS[3]]
        part = parts[i % 3]
        bit = rng.randrange(8 * len(part))
        part[bit // 8] ^= 1 << bit % 8
        assert not ed25519.verify(*map(bytes, parts)), (i % 3, bit)


def test_a_signature_has_one_form_only():
    """Reject s + L, which satisfies the equation too (RFC 8032, section 8.4: malleability)."""
    key, message, signature = map(bytes.fromhex, VECTORS[1])
    s = int.from_bytes(signature[32:], "little") + L
    assert not ed25519.verify(key, message, signature[:32] + s.to_bytes(32, "little"))


def test_a_wrong_length_or_a_key_that_is_no_point_is_rejected():
    key, message, signature = map(bytes.fromhex, VECTORS[1])
    assert not ed25519.verify(key[:31], message, signature)
    assert not ed25519.verify(key, message, signature + b"\0")
    assert not ed25519.verify(b"\xff" * 32, message, signature)
    assert not ed25519.verify(b"\x02" + b"\0" * 31, message, signature)  # y = 2: no such point


def test_a_key_of_openssl_is_read_and_its_signature_verified(tmp_path):
    secret, public = tmp_path / "key.pem", tmp_path / "pub.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", secret)
    openssl("pkey", "-in", secret, "-pubout", "-out", public)
    message = tmp_path / "message"
    message.write_bytes(bytes(range(256)) * 5)
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", secret, "-in", message, "-out", tmp_path / "s")
    key = ed25519.read_public_key(public)
    assert ed25519.verify(key, message.read_bytes(), (tmp_path / "s").read_bytes())
    assert not ed25519.verify(key, message.read_bytes()[:-1], (tmp_path / "s").read_bytes())


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=300)


@pytest.mark.parametrize("weak", [0, 1, ed25519.P - 1])
def test_a_point_that_fits_many_signatures_is_no_key(weak):
    assert ed25519.is_weak(weak.to_bytes(32, "little"))
    assert not ed25519.is_weak(bytes.fromhex(VECTORS[0][0]))


ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
WEAK = [  # the eight points of small order, and the second forms that OpenSSL accepts for them
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    ORDER_8,
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",  # x = 0, and yet its sign
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = P
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # y = P + 1
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("key", WEAK)
def test_a_weak_key_verifies_nothing_although_openssl_accepts_it(key):
    """Try s = 0 with R of small order, which fits at least one message in eight."""
    key, forms = bytes.fromhex(key), [bytes.fromhex(form) for form in WEAK[:8]]
    forged = [(b"%d" % i, r + bytes(32)) for i in range(64) for r in forms]
    fits = [x for x in forged if accepts(key, *x)]
    assert fits
    assert ed25519.is_weak(key)
    assert not any(ed25519.verify(key, *x) for x in fits)


def accepts(key, message, signature):
    """Return whether OpenSSL accepts a signature without `is_weak`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_a_key_in_a_second_form_and_a_y_without_a_point_are_weak():
    for y in range(19):  # y + P fits into 255 bits
        assert ed25519.is_weak((y + ed25519.P).to_bytes(32, "little"))
    # y = 2, 7, 8 have no point; 3, 4, 5, 6 have one
    assert [y for y in range(2, 9) if ed25519.is_weak(y.to_bytes(32, "little"))] == [2, 7, 8]


def test_no_key_that_openssl_makes_is_weak_and_every_second_of_random_bytes_is():
    rng = random.Random(2)
    made = [Ed25519PrivateKey.from_private_bytes(rng.randbytes(32)) for _ in range(200)]
    assert not any(ed25519.is_weak(key.public_key().public_bytes_raw()) for key in made)
    assert 150 < sum(ed25519.is_weak(rng.randbytes(32)) for _ in range(400)) < 250


DAMAGED = """
import json, sys
from epithermal_edge.signatures import ed25519
sys.modules["_cffi_backend"] = None  # as where a file of the installation is gone
errors = []
for _ in range(2):
    try:
        ed25519.verify(bytes.fromhex(sys.argv[1]), b"", bytes(64))
    except ed25519.VerifierError as error:
        errors.append(str(error))
print(json.dumps(errors))
"""


def test_a_damaged_library_is_reported_each_time():
    done = subprocess.run(
        [sys.executable, "-c", DAMAGED, VECTORS[0][0]],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    errors = json.loads(done.stdout)
    assert len(errors) == 2
    assert all(x.startswith("no signature can be verified: cryptography: ") for x in errors)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA"
        + b"A" * 43
        + b"=\n-----END PUBLIC KEY-----\n",
    ],
)
def test_a_file_without_a_valid_key_is_rejected_with_the_remedy(tmp_path, text):
    (tmp_path / "pub.pem").write_bytes(text)
    with pytest.raises(ConfigError, match=r"pub\.pem: not .*openssl genpkey"):
        ed25519.read_public_key(tmp_path / "pub.pem")


def test_a_missing_key_file_is_reported(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        ed25519.read_public_key(tmp_path / "none.pem")
