"""Run `epithermal-host key` and `sign`, so that stations can verify the origin of a bundle."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from pathlib import Path

from epithermal_edge.errors import ConfigError
from epithermal_edge.signatures import minisign
from epithermal_host.bundles import signing

PASSWORD = "password of the key: "


def add_key_arguments(parser: argparse.ArgumentParser) -> None:
    """Add arguments and options of `key`."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="STEM", help="write STEM.key and STEM.pub"
    )
    parser.add_argument(
        "--no-password",
        action="store_true",
        help="do not encrypt STEM.key: anyone who can read it can sign",
    )
    _add_password_file(parser)


def add_sign_arguments(parser: argparse.ArgumentParser) -> None:
    """Add arguments and options of `sign`."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model bundle")
    add_secret_key(parser, required=True)


def add_secret_key(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Add the options for the key to sign with."""
    parser.add_argument(
        "--key",
        type=Path,
        required=required,
        metavar="FILE.key",
        help="sign with this secret key, created by `epithermal-host key` or minisign",
    )
    _add_password_file(parser)


def _add_password_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help="file whose first line is the password of the key; default: prompt for it",
    )


def secret_key(arguments: argparse.Namespace) -> signing.SecretKey | None:
    """Read the key that the options name; None if they name none.

    Raises
    ------
    ConfigError
        The key cannot be read, or the password is wrong.
    """
    if arguments.key is None:
        return None
    return signing.read_secret_key(arguments.key, lambda: _password(arguments, twice=False))


def _password(arguments: argparse.Namespace, twice: bool) -> str:
    if arguments.password_file is not None:
        lines = arguments.password_file.read_text("utf-8").splitlines()
        if not lines or not lines[0]:
            raise ConfigError(f"{arguments.password_file}: its first line is empty")
        return str(lines[0])
    password = getpass.getpass(PASSWORD)
    if twice and getpass.getpass(f"again, {PASSWORD}") != password:
        raise ConfigError("the two passwords differ; no key was written")
    if not password:
        raise ConfigError("the password is empty; use --no-password for a key without password")
    return password


def create_key(arguments: argparse.Namespace, out: Callable[[str], object]) -> int:
    """Run the command `key`."""
    password = None if arguments.no_password else _password(arguments, twice=True)
    key = signing.make_key()
    secret, public = signing.write_keys(arguments.out, key, password)
    out(f"{secret}: secret key for signing; keep it private and back it up")
    out(f"{public}: public key; add to [model] of station.toml:")
    out(f'keys = ["{signing.public_text(key).splitlines()[1]}"]')
    return 0


def sign(arguments: argparse.Namespace, out: Callable[[str], object]) -> int:
    """Run the command `sign`."""
    key = secret_key(arguments)
    assert key is not None
    path = signing.sign_bundle(arguments.bundle, key)
    out(f"{path}: signed with key {minisign.PublicKey(key.key_id, key.public).name}")
    return 0
