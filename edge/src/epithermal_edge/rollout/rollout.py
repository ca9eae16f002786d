"""A new model's way to be used: staged, verified, on trial, and then committed or rejected.

Each step is durable before the next begins, and each can be done again: `finish` goes on where a
cut left it. The links change in `commit` alone. docs/rollout.md tells what is asked of a model.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from epithermal_edge.config.station_toml import Trust
from epithermal_edge.errors import BundleError
from epithermal_edge.inference.bundle import MANIFEST, SIGNATURE, Bundle, open_bundle
from epithermal_edge.rollout import installed, staging, state_file
from epithermal_edge.rollout.installed import CURRENT, PREVIOUS, title
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

MAX_STARTS = 8  # of a station during one trial; then the candidate is taken for what ends it

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks for when a bundle comes in."""

    trust: Trust
    origin: str = ""  # where it came from, as it was given
    pulled: bool = False  # from a server: it may not bring another name
    now: bool = False  # use it without a trial
    allow_downgrade: bool = False


def install(folder: Path, source: Path, request: Request) -> tuple[Bundle, str]:
    """Take a bundle in: staged, verified, and on trial or, where there is no other, used at once.

    Parameters
    ----------
    folder :
        Of the station's bundles; made when it is not there.
    source :
        A bundle's folder, or a tar archive of one.

    Returns
    -------
    Bundle
        It was verified.
    str
        CURRENT, or VERIFIED: the running station tries it.

    Raises
    ------
    BundleError
        It is damaged, not signed by one who is trusted, older than one that was used, not for this
        software, or fails its golden vectors on the runtime here; the model in use is as before.
    """
    if not folder.is_dir():
        folder.mkdir(parents=True)
        match_owner(folder, folder.parent)
    with installed.lock(folder):
        finish(folder, request.trust)
        staged = staging.stage(folder, source)
        same = _is_current(folder, staged)
        if same is not None:
            staging.clear(folder)
            log.info("%s is the current bundle already", title(same))
            return same, CURRENT
        origin = request.origin or str(source)
        candidate = Candidate(
            folder=staging.PLACE,
            title=origin,
            source=origin,
            state=STAGED,
            pulled=request.pulled,
            now=request.now,
            allow_downgrade=request.allow_downgrade,
        )
        record = _without(read(folder), f"{origin} takes its place")
        write(folder, record.with_event("model_staged", origin, candidate))
        return _verify(folder, request.trust)


def _is_current(folder: Path, staged: Path) -> Bundle | None:
    """The bundle, where it is the one in use already."""
    try:
        bundle = open_bundle(staged)
        return bundle if open_bundle(folder / CURRENT).sha256 == bundle.sha256 else None
    except BundleError:
        return None  # told when it is verified


def _without(record: Rollout, why: str) -> Rollout:
    """The record after the candidate had to go."""
    candidate = record.candidate
    if candidate is None:
        return record
    return record.with_event("model_rejected", f"{candidate.title}: {why}", None)


def _verify(folder: Path, trust: Trust) -> tuple[Bundle, str]:
    """Prove what is staged and put it beside the others, or reject it; the lock is held."""
    record = read(folder)
    candidate = record.candidate
    assert candidate is not None
    staged = folder / staging.PLACE
    try:
        signer = check_signature(staged, trust)
        bundle = installed.verify_bundle(staged)
        _check_version(folder, record, candidate, bundle)
        name = _free_name(folder, bundle)
    except BundleError as fault:
        text = str(fault).replace(f"{staged}", candidate.source)
        reject(folder, text)
        staging.clear(folder)
        raise BundleError(text) from fault
    verified = replace(
        candidate, folder=name, title=title(bundle), state=VERIFIED, sha256=bundle.sha256
    )
    text = f"{title(bundle)}, sha256 {bundle.sha256[:12]}, {signer}"
    write(folder, record.with_event("model_verified", text, verified))
    _move(folder, name)
    bundle = replace(bundle, path=folder / name)
    if candidate.now or not installed.has_current(folder):
        commit(folder, bundle, "without a trial")
        return bundle, CURRENT
    return bundle, VERIFIED


def check_signature(path: Path, trust: Trust) -> str:
    """Who signed a bundle's MANIFEST, in words.

    Raises
    ------
    BundleError
        The signature is wrong, or there is none of a trusted key and `model.unsigned` does not
        allow that.
    """
    where = path / SIGNATURE
    remedy = "sign it (epithermal-host sign), name its maker in model.keys, or set model.unsigned"
    try:
        with where.open("rb") as file:
            signature = file.read(MAX_BYTES + 1)
        manifest = (path / MANIFEST).read_bytes()
        return f"signed with key {verify(manifest, signature, trust.keys).name}"
    except FileNotFoundError as fault:
        if trust.unsigned:
            return "not signed"
        raise BundleError(f"{where}: not there: {remedy}") from fault
    except UnknownKeyError as fault:
        if trust.unsigned:
            return str(fault)
        raise BundleError(f"{where}: {fault}: {remedy}") from fault
    except (BundleError, OSError) as fault:
        raise BundleError(f"{where}: {fault}: take it from its maker again") from fault


def _check_version(folder: Path, record: Rollout, candidate: Candidate, bundle: Bundle) -> None:
    """Neither older than one that was committed nor, from a server, of another name."""
    highest = dict(record.highest)
    try:
        current = open_bundle(folder / CURRENT)
    except BundleError:
        current = None
    if current is not None:
        known = highest.setdefault(current.name, current.version)
        highest[current.name] = max(known, current.version, key=precedence)
        if candidate.pulled and bundle.name != current.name:
            raise BundleError(
                f"{candidate.source}: brings {bundle.name}, and {current.name} is in use: a server"
                " may not change that; fetch it and install the file"
            )
    before = highest.get(bundle.name)
    older = before is not None and precedence(bundle.version) < precedence(before)
    if older and not candidate.allow_downgrade:
        raise BundleError(
            f"{candidate.source}: {title(bundle)} is older than {before}, which was used here:"
            " go back with `model rollback`, or give --allow-downgrade"
        )


def _free_name(folder: Path, bundle: Bundle) -> str:
    """The name under which it is kept: its own, or with its hash where another has that."""
    plain = f"{bundle.name}-{bundle.version}"
    for name in (plain, f"{plain}.{bundle.sha256[:12]}"):
        if not (folder / name).exists():
            return name
        try:
            if open_bundle(folder / name).sha256 == bundle.sha256:
                return name
        except BundleError as fault:
            log.warning("%s; it stays where it is", fault)
    raise BundleError(f"{folder / plain}: there and damaged: remove it and install again")


def _move(folder: Path, name: str) -> None:
    """Put what was verified beside the others; does nothing when that is done."""
    if (folder / staging.PLACE).is_dir() and not (folder / name).exists():
        (folder / staging.PLACE).rename(folder / name)
        sync(folder)
    staging.clear(folder)


def finish(folder: Path, trust: Trust) -> None:
    """Go on where a cut left the roll-out; the lock is held. A second time does nothing."""
    state_file.clear(folder)
    record = read(folder)
    candidate = record.candidate
    if candidate is None:
        return
    if candidate.state == STAGED:
        if not (folder / staging.PLACE).is_dir():
            reject(folder, "its files are gone")
            return
        try:
            _verify(folder, trust)
        except BundleError as fault:
            log.error("%s", fault)  # and told as an event
        return
    _move(folder, candidate.folder)
    if (
        installed.read_link(folder, CURRENT) == candidate.folder
    ):  # cut between the link and the file
        commit(folder, open_bundle(folder / candidate.folder), "its link was led already")
    elif candidate.now:
        commit(folder, open_bundle(folder / candidate.folder), "without a trial")


def resume(folder: Path, trust: Trust) -> None:
    """`finish`, where a roll-out is unfinished and nobody else is at it.

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
    """The candidate, its trial begun or gone on with; None where there is none any more.

    Parameters
    ----------
    newest_seq :
        Number of the newest record in the journal: what comes later is judged live.
    """
    with installed.lock(folder):
        record = read(folder)
        candidate = record.candidate
        if candidate is None or candidate.state not in (VERIFIED, TRIAL):
            return None
        if candidate.starts >= MAX_STARTS:
            reject(folder, f"the station began {MAX_STARTS} times during its trial")
            return None
        begun = replace(candidate, state=TRIAL, starts=candidate.starts + 1)
        if candidate.state == VERIFIED or candidate.since_seq > newest_seq:
            begun = replace(begun, since_seq=newest_seq)
        if candidate.state == VERIFIED:
            record = record.with_event(
                "model_trial", f"{candidate.title} beside the one in use", begun
            )
        write(folder, replace(record, candidate=begun))
        return begun


def commit(folder: Path, bundle: Bundle, why: str) -> None:
    """Use a proved bundle of the folder from now on; the lock is held."""
    before, name = installed.read_link(folder, CURRENT), bundle.path.name
    if before is not None and before != name:
        installed.set_link(folder, PREVIOUS, before)
    if before != name:
        installed.set_link(folder, CURRENT, name)
    record = read(folder).with_highest(bundle.name, bundle.version)
    text = f"{title(bundle)}, sha256 {bundle.sha256[:12]}: {why}"
    write(folder, record.with_event("model_committed", text, None))


def reject(folder: Path, why: str) -> None:
    """The candidate goes, and the model in use stays; the lock is held."""
    write(folder, _without(read(folder), why))
