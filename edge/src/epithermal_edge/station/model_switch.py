"""Try a new model in the running station and switch to it between two records.

A shadow computes the new model's state from the journal while the model in use continues. The same
is done when somebody else has changed the link `current`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from epithermal_edge.config.station_toml import Config
from epithermal_edge.errors import BundleError, EpithermalError
from epithermal_edge.inference.engine import Engine
from epithermal_edge.journal.journal import Journal, JournalError
from epithermal_edge.messages import station
from epithermal_edge.rollout import installed
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.rollout.state_file import TRIAL, VERIFIED, Rollout, read
from epithermal_edge.station.intake import Intake

if TYPE_CHECKING:
    from epithermal_edge.rollout.trial import Shadow, Verdict

CHECK_S = 2.0  # between two checks of the folder
RETRY_S = 60.0  # after a failed check
BATCH = 128  # records per poll, about 20 ms
NEWEST_EVENT = "model_told"  # journal key: serial of the newest event posted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """A bundle whose state a shadow computes."""

    folder: str
    sha256: str  # of a candidate; empty if `current` already points to it
    in_use: str  # folder of the bundle in use


class ModelSwitch:
    """Watcher of the folder of bundles; used by the thread that owns the journal.

    Parameters
    ----------
    on_switch :
        Called with the engine that is used from now on.
    """

    def __init__(
        self, config: Config, intake: Intake, on_switch: Callable[[Engine], object]
    ) -> None:
        self._config, self._intake, self._on_switch = config, intake, on_switch
        bundle = config.bundle
        self._folder: Path | None = bundle.parent if bundle.name == installed.CURRENT else None
        self._check_at = -math.inf
        self._target: Target | None = None
        self._shadow: Shadow | None = None
        self._is_behind = False

    @property
    def is_behind(self) -> bool:
        """True while the shadow has records to process."""
        return self._is_behind

    def poll(self, now: float) -> None:
        """Check the folder when it is due, and let the shadow process some records.

        Parameters
        ----------
        now :
            Monotonic clock [s].

        Raises
        ------
        JournalError
            The journal could not be written; the next poll tries again.
        """
        journal = self._intake.journal
        if self._folder is None or journal is None or self._intake.is_behind:
            return
        try:
            if now >= self._check_at:
                self._check_at = now + CHECK_S
                self._check_folder(self._folder, journal)
            if self._shadow is not None:
                self._advance_shadow(self._folder, journal, self._shadow)
        except BundleError as busy:  # an installation is under way
            log.info("%s", busy)
        except JournalError:
            raise
        except (OSError, EpithermalError) as fault:
            log.error("%s: %s; cannot try or switch models", self._folder, fault)
            self._check_at = now + RETRY_S
            self.reset()

    def reset(self) -> None:
        """Drop the shadow; the next check of the folder starts again."""
        self._target, self._shadow, self._is_behind = None, None, False

    def _check_folder(self, folder: Path, journal: Journal) -> None:
        from epithermal_edge.rollout import rollout

        rollout.resume(folder, self._config.trust)
        record = read(folder)
        self._store_events(journal, record)
        target = self._find_target(folder, record)
        if target != self._target:
            self.reset()
            if target is not None:
                self._start_shadow(folder, journal, target)
            self._target = target

    def _store_events(self, journal: Journal, record: Rollout) -> None:
        """Post each new event of the roll-out once."""
        stored_serial = int(journal.get_values(NEWEST_EVENT).get(NEWEST_EVENT, "0"))
        identity = self._intake.identity
        new = [e for e in record.events if e.serial > stored_serial]
        if new:
            events = [station.event(identity, e.kind, e.time_s, e.text) for e in new]
            journal.put_values({NEWEST_EVENT: str(new[-1].serial)}, events)

    def _find_target(self, folder: Path, record: Rollout) -> Target | None:
        current, candidate = installed.read_link(folder, installed.CURRENT), record.candidate
        current = current and Path(current).name
        engine_in_use = self._intake.engine.bundle
        if current is not None and current != engine_in_use.path.name:
            return Target(current, "", engine_in_use.path.name)
        if candidate is not None and candidate.state in (VERIFIED, TRIAL):
            return Target(candidate.folder, candidate.sha256, engine_in_use.path.name)
        return None

    def _start_shadow(self, folder: Path, journal: Journal, target: Target) -> None:
        """Start a shadow for a bundle; reject a bundle that cannot be loaded."""
        from epithermal_edge.rollout import rollout
        from epithermal_edge.rollout.trial import Shadow, median_step_s

        since_seq, engine_in_use = -1, self._intake.engine
        if target.sha256:
            candidate = rollout.begin_trial(folder, journal.last_seq())
            if candidate is None:
                return
            since_seq = candidate.since_seq
        try:
            engine = load_engine(self._config, folder / target.folder)
            if target.sha256 and engine.bundle.sha256 != target.sha256:
                raise BundleError(f"{engine.bundle.path}: differs from the verified bundle")
        except BundleError as fault:
            self._reject(folder, target, str(fault))
            return
        shadow = Shadow(engine, installed.title(engine_in_use.bundle), since_seq)
        shadow.tally.step_s = median_step_s(engine.step, engine.bundle)
        shadow.tally.step_current_s = median_step_s(engine_in_use.step, engine_in_use.bundle)
        self._shadow, self._is_behind = shadow, True

    def _reject(self, folder: Path, target: Target, why: str) -> None:
        from epithermal_edge.rollout import rollout

        if target.sha256:
            with installed.lock(folder):
                rollout.reject(folder, why)
            self._check_at = -math.inf
        else:
            log.error("%s; %s stays in use", why, target.in_use)
        self._shadow, self._is_behind = None, False

    def _advance_shadow(self, folder: Path, journal: Journal, shadow: Shadow) -> None:
        """Process some records in the shadow; decide once it has processed all."""
        from epithermal_edge.journal import history
        from epithermal_edge.rollout import trial

        assert self._target is not None
        last = journal.last_seq()
        if shadow.seq < last:
            with closing(history.open_readonly(journal.path)) as db:
                entries = list(history.read_entries(db, shadow.seq, limit=BATCH))
            try:
                if entries:
                    shadow.add_entries(entries)
            except Exception:
                log.exception("%s cannot process a record", self._target.folder)
                self._reject(folder, self._target, "it cannot process a record")
                return
            if not entries:
                shadow.seq = last  # the remaining rows are damaged
        self._is_behind = shadow.seq < last
        if not self._target.sha256:
            verdict = None if self._is_behind else trial.Verdict(True, "")
        elif self._is_behind and not shadow.tally.not_finite:
            return
        else:
            verdict = trial.judge(shadow.tally, self._config.trial_hours)
        if verdict is not None:
            self._conclude(folder, self._target, shadow, verdict)

    def _conclude(self, folder: Path, target: Target, shadow: Shadow, verdict: Verdict) -> None:
        from epithermal_edge.rollout import rollout

        if not verdict.accepted:
            self._reject(folder, target, f"trial: {verdict.why}; after {shadow.tally.hours} h")
            return
        if target.sha256:
            with installed.lock(folder):
                candidate = read(folder).candidate
                if candidate is None or candidate.sha256 != target.sha256:
                    return  # another candidate replaced it; the next check finds that one
                rollout.commit(folder, shadow.engine.bundle, f"trial: {verdict.why}")
        self.reset()
        self._check_at = -math.inf
        bundle = shadow.engine.bundle
        log.info("switched to %s from %s", installed.title(bundle), target.in_use)
        self._on_switch(shadow.engine)
        self._intake.switch(shadow.engine, shadow.state)

    def health(self) -> dict[str, object] | None:
        """Return the state of the trial or switch for health.json; None: there is none."""
        if self._shadow is None or self._target is None:
            return None
        bundle, tally = self._shadow.engine.bundle, self._shadow.tally
        return {
            "model": installed.title(bundle),
            "trial": bool(self._target.sha256),
            "hours": tally.hours,
            "live_hours": tally.live_hours,
        }
