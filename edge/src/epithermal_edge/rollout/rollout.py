"""Roll out a new model: stage it, verify it, try it, and then commit or reject it.

Each step is on disk before the next one starts, and each can be repeated: `finish` completes what a
power cut interrupted. Only `commit` changes the links. docs/rollout.md lists the checks of a model.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from epithermal_edge.config.station_toml import Trust
from epithermal_edge.errors import BundleError, EpithermalError
from epithermal_edge.inference.bundle import (
    LARGEST_BYTES,
    MANIFEST,
    SIGNATURE,
    Bundle,
    hash_manifest,
    open_bundle,
)
from epithermal_edge.rollout import installed, staging, state_file
from epithermal_edge.rollout.installed import CURRENT, PREVIOUS, title
from epithermal_edge.rollout.privileges import act_as_owner
from epithermal_edge.rollout.state_file import (
    STAGED,
    TRIAL,
    VERIFIED,
    Candidate,
    Rollout,
    match_owner,
    precedence,
    read,
    sync,
    write,
)
from epithermal_edge.signatures.minisign import MAX_BYTES, UnknownKeyError, verify

MAX_STARTS = 8  # starts of the station during a trial; more mean that the candidate stops it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """Options of an installation."""

    trust: Trust
    origin: str = ""  # source of the bundle as the user named it
    pulled: bool = False  # downloaded from a server: must have the name of the model in use
    now: bool = False  # use it without a trial
    allow_downgrade: bool = False
    replace_trial: bool = False  # although another model is on trial


def install(folder: Path, source: Path, request: Request) -> tuple[Bundle, str]:
    """Install a bundle: stage and verify it; use it at once if there is no other model.

    Parameters
    ----------
    folder :
        Folder of the station's bundles; created if it does not exist.
    source :
        A bundle's folder, or a tar archive of one; opened with the rights of the caller. Root acts
        as the folder's owner for all else.

    Returns
    -------
    Bundle
        The verified bundle.
    str
        CURRENT if it is in use; VERIFIED if the running station is to try it.

    Raises
    ------
    BundleError
        The bundle is damaged, lacks a trusted signature, is older than a version that was used, is
        not for this software, or fails its golden vectors here; the model in use is unchanged.
    EpithermalError
        Another model is on trial, and `request.replace_trial` is False.
    """
    if request.pulled:  # it lies in the folder of the station's user
        with act_as_owner(folder), staging.open_source(source) as opened:
            return _install(folder, opened, request)
    with staging.open_source(source) as opened, act_as_owner(folder):
        return _install(folder, opened, request)


def _install(folder: Path, source: staging.Source, request: Request) -> tuple[Bundle, str]:
    if not folder.is_dir():
        folder.mkdir(parents=True)
        match_owner(folder, folder.parent)
    with installed.lock(folder):
        finish(folder, request.trust)
        staged = staging.stage(folder, source)
        try:
            known = _find_known(folder, staged, request)
        except EpithermalError:
            staging.clear(folder)
            raise
        if known is not None:
            staging.clear(folder)
            log.info("%s is already %s", title(known[0]), known[1])
            return known
        origin = request.origin or str(source.path)
        candidate = Candidate(
            folder=staging.PLACE,
            title=origin,
            source=origin,
            state=STAGED,
            pulled=request.pulled,
            now=request.now,
            allow_downgrade=request.allow_downgrade,
        )
        record = _reject_candidate(read(folder), f"replaced by {origin}")
        write(folder, record.with_event("model_staged", origin, candidate))
        return _verify_staged(folder, request.trust)


def _find_known(folder: Path, staged: Path, request: Request) -> tuple[Bundle, str] | None:
    """Return a staged bundle that is in use or on trial already, with its use; otherwise None.

    Raises
    ------
    EpithermalError
        Another model is on trial, and the request does not replace it.
    """
    try:
        sha256 = hash_manifest(staged)
    except BundleError:
        sha256 = ""  # `_verify_staged` reports the error
    candidate, current = read(folder).candidate, _open_or_none(folder / CURRENT)
    if current is not None and current.sha256 == sha256:
        return current, CURRENT
    if candidate is None:
        return None
    if candidate.sha256 != sha256:
        if request.replace_trial:
            return None
        raise EpithermalError(
            f"{candidate.title} is on trial: wait for its verdict (`model list`), or add"
            " --replace-trial to reject it; nothing was changed"
        )
    tried = _open_or_none(folder / candidate.folder)
    if request.now or tried is None:
        return None
    return tried, VERIFIED


def _open_or_none(path: Path) -> Bundle | None:
    """Open a bundle; return None if it is missing or damaged."""
    try:
        return open_bundle(path)
    except BundleError:
        return None


def _reject_candidate(record: Rollout, why: str) -> Rollout:
    """Return the rollout state with the candidate, if any, rejected."""
    candidate = record.candidate
    if candidate is None:
        return record
    return record.with_event("model_rejected", f"{candidate.title}: {why}", None)


def _verify_staged(folder: Path, trust: Trust) -> tuple[Bundle, str]:
    """Verify the staged bundle and move it to the others, or reject it; needs the lock."""
    record = read(folder)
    candidate = record.candidate
    assert candidate is not None
    staged = folder / staging.PLACE
    try:
        signer = check_signature(staged, trust)
        staging.check_listed(staged)
        bundle = installed.verify_bundle(staged)
        _check_version(folder, record, candidate, bundle)
        name = _choose_name(folder, bundle)
    except BundleError as fault:
        text = str(fault).replace(f"{staged}", candidate.source)
        reject(folder, text)
        staging.clear(folder)
        raise BundleError(text) from fault
    verified = replace(
        candidate, folder=name, title=title(bundle), state=VERIFIED, sha256=bundle.sha256
    )
    text = f"{title(bundle)}, sha256 {bundle.sha256[:12]}, {signer}"
    if bundle.shortfalls:
        text += ", released with --force: not better than the inversion on unseen soils"
    write(folder, record.with_event("model_verified", text, verified))
    _move_staged(folder, name)
    bundle = replace(bundle, path=folder / name)
    if candidate.now or not installed.has_current(folder):
        commit(folder, bundle, "without a trial")
        return bundle, CURRENT
    return bundle, VERIFIED


def check_signature(path: Path, trust: Trust) -> str:
    """Verify the signature of a bundle's MANIFEST; return who signed it, for an event text.

    Raises
    ------
    BundleError
        The signature is invalid, or it is missing or of an unknown key and `model.unsigned` does
        not allow that.
    """
    where = path / SIGNATURE
    remedy = "sign it (epithermal-host sign), add its key to model.keys, or set model.unsigned"
    try:
        with where.open("rb") as file:
            signature = file.read(MAX_BYTES + 1)
        with (path / MANIFEST).open("rb") as file:
            manifest = file.read(LARGEST_BYTES[MANIFEST] + 1)
        return f"signed with key {verify(manifest, signature, trust.keys).name}"
    except FileNotFoundError as fault:
        if trust.unsigned:
            return "not signed"
        raise BundleError(f"{where}: missing: {remedy}") from fault
    except UnknownKeyError as fault:
        if trust.unsigned:
            return str(fault)
        raise BundleError(f"{where}: {fault}: {remedy}") from fault
    except (BundleError, OSError) as fault:
        raise BundleError(f"{where}: {fault}: get the bundle from its publisher again") from fault


def _check_version(folder: Path, record: Rollout, candidate: Candidate, bundle: Bundle) -> None:
    """Reject a version older than a committed one, and another name from a server."""
    highest = dict(record.highest)
    current = _open_or_none(folder / CURRENT)
    if current is not None:
        known = highest.setdefault(current.name, current.version)
        highest[current.name] = max(known, current.version, key=precedence)
        if candidate.pulled and bundle.name != current.name:
            raise BundleError(
                f"{candidate.source}: contains {bundle.name}, but {current.name} is in use: a"
                " server may not change the name; download the file and install it"
            )
    before = highest.get(bundle.name)
    older = before is not None and precedence(bundle.version) < precedence(before)
    if older and not candidate.allow_downgrade:
        raise BundleError(
            f"{candidate.source}: {title(bundle)} is older than {before}, which was used here:"
            " use `model rollback`, or add --allow-downgrade"
        )


def _choose_name(folder: Path, bundle: Bundle) -> str:
    """Choose a folder name: name and version, and the hash too if that is in use."""
    plain = f"{bundle.name}-{bundle.version}"
    for name in (plain, f"{plain}.{bundle.sha256[:12]}"):
        if not (folder / name).exists():
            return name
        try:
            if open_bundle(folder / name).sha256 == bundle.sha256:
                return name
        except BundleError as fault:
            log.warning("%s; the folder is not changed", fault)
    raise BundleError(f"{folder / plain}: exists and is damaged: remove it and install again")


def _move_staged(folder: Path, name: str) -> None:
    """Move the verified bundle to the others, if that is not done yet."""
    if (folder / staging.PLACE).is_dir() and not (folder / name).exists():
        (folder / staging.PLACE).rename(folder / name)
        sync(folder)
    staging.clear(folder)


def finish(folder: Path, trust: Trust) -> None:
    """Complete an interrupted rollout; needs the lock. A second call does nothing."""
    state_file.clear(folder)
    record = read(folder)
    candidate = record.candidate
    if candidate is None:
        return
    if candidate.state == STAGED:
        if not (folder / staging.PLACE).is_dir():
            reject(folder, "its files are missing")
            return
        try:
            _verify_staged(folder, trust)
        except BundleError as fault:
            log.error("%s", fault)  # published as an event too
        return
    _move_staged(folder, candidate.folder)
    # equal after a power cut between the change of the link and the write of the file
    if installed.read_link(folder, CURRENT) == candidate.folder:
        commit(folder, open_bundle(folder / candidate.folder), "its link was set already")
    elif candidate.now:
        commit(folder, open_bundle(folder / candidate.folder), "without a trial")


def resume(folder: Path, trust: Trust) -> None:
    """Complete an interrupted rollout unless another process holds the lock.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    candidate = read(folder).candidate
    if candidate is None or (
        candidate.state == TRIAL and installed.read_link(folder, CURRENT) != candidate.folder
    ):
        return
    try:
        with installed.lock(folder):
            finish(folder, trust)
    except BundleError as fault:
        log.info("%s", fault)


def begin_trial(folder: Path, newest_seq: int) -> Candidate | None:
    """Start or resume the trial of the candidate; return None if there is no candidate.

    Parameters
    ----------
    newest_seq :
        Number of the newest record in the journal; later hours are live.
    """
    with installed.lock(folder):
        record = read(folder)
        candidate = record.candidate
        if candidate is None or candidate.state not in (VERIFIED, TRIAL):
            return None
        if candidate.starts >= MAX_STARTS:
            reject(folder, f"the station started {MAX_STARTS} times during its trial")
            return None
        started = replace(candidate, state=TRIAL, starts=candidate.starts + 1)
        if candidate.state == VERIFIED or candidate.since_seq > newest_seq:
            started = replace(started, since_seq=newest_seq)
        if candidate.state == VERIFIED:
            text = f"{candidate.title} beside the model in use"
            record = record.with_event("model_trial", text, started)
        write(folder, replace(record, candidate=started))
        return started


def commit(folder: Path, bundle: Bundle, why: str) -> None:
    """Set the links to a verified bundle of the folder; needs the lock."""
    before, name = installed.read_link(folder, CURRENT), bundle.path.name
    if before is not None and before != name:
        installed.set_link(folder, PREVIOUS, before)
    if before != name:
        installed.set_link(folder, CURRENT, name)
    record = read(folder).with_highest(bundle.name, bundle.version)
    text = f"{title(bundle)}, sha256 {bundle.sha256[:12]}: {why}"
    write(folder, record.with_event("model_committed", text, None))


def reject(folder: Path, why: str) -> None:
    """Reject the candidate; the model in use is unchanged. Needs the lock."""
    write(folder, _reject_candidate(read(folder), why))
