"""Verify Ed25519 signatures, bare and in minisign's format.

In: a public key, a message, a signature. Out: whether the signature is valid for this key; a
station signs nothing.
Open `minisign` first (bundles); `ed25519` verifies commands.
"""
