"""The running station's part in a roll-out: it tries the new model, and takes it without a pause.

Also a model that somebody else led `current` to is taken: its state is computed by a shadow that
follows the journal while the other one goes on, and then the two change places between two records.
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
from epithermal_edge.rollout import installed as models
from epithermal_edge.rollout.loading import load_engine
from epithermal_edge.rollout.state_file import TRIAL, VERIFIED, Rollout, read
from epithermal_edge.station.intake import Intake

if TYPE_CHECKING:
    from epithermal_edge.rollout.trial import Shadow, Verdict

LOOK_S = 2.0  # between two looks at the folder
REFUSED_S = 60.0  # after one that failed
BATCH = 32  # records at a time, some 20 ms
TOLD = "model_told"  # serial of the newest event that is in the outbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Goal:
    """A bundle that a shadow makes ready."""

    folder: str
    sha256: str  # of a candidate; empty where it is used already
    beside: str  # folder of the one in use


class Succession:
    """Watches the folder of bundles; lives in the thread that owns the journal.

    Parameters
    ----------
    adopt :
        Told of the engine that is used from now on.
    """

    def __init__(self, config: Config, intake: Intake, adopt: Callable[[Engine], object]) -> None:
        self._config, self._intake, self._adopt = config, intake, adopt
        bundle = config.bundle
        self._folder: Path | None = bundle.parent if bundle.name == models.CURRENT else None
        self._look_at = -math.inf
        self._goal: Goal | None = None
        self._shadow: Shadow | None = None
        self._behind = False

    @property
    def is_behind(self) -> bool:
        """Whether there are records that a shadow has to take in."""
        return self._behind

    def work(self, now: float) -> None:
        """Look at the folder when it is time, and let the shadow take some records.

        Parameters
        ----------
        now :
            Monotonic clock [s].

        Raises
        ------
        JournalError
            Something could not be written, and is tried again.
        """
        journal = self._intake.journal
        if self._folder is None or journal is None:
            return
        try:
            if now >= self._look_at:
                self._look_at = now + LOOK_S
                self._look(self._folder, journal)
            if self._shadow is not None:
                self._follow(self._folder, journal, self._shadow)
        except BundleError as busy:  # an installation is under way
            log.info("%s", busy)
        except JournalError:
            raise
        except (OSError, EpithermalError) as fault:
            log.error("%s: %s; no model can be tried or taken", self._folder, fault)
            self._look_at = now + REFUSED_S
            self.forget()

    def forget(self) -> None:
        """The journal is another, or the disk failed: begin anew at the next look."""
        self._goal, self._shadow, self._behind = None, None, False

    def _look(self, folder: Path, journal: Journal) -> None:
        from epithermal_edge.rollout import rollout

        rollout.settle(folder, self._config.trust)
        record = read(folder)
        self._tell(journal, record)
        goal = self._goal_of(folder, record)
        if goal != self._goal:
            self.forget()
            if goal is not None:
                self._begin(folder, journal, goal)
            self._goal = goal

    def _tell(self, journal: Journal, record: Rollout) -> None:
        """Put what happened to models into the outbox, each thing once."""
        told = int(journal.kept(TOLD).get(TOLD, "0"))
        identity = self._intake.identity
        new = [e for e in record.events if e.serial > told]
        if new:
            events = [station.event(identity, e.kind, e.time_s, e.text) for e in new]
            journal.keep({TOLD: str(new[-1].serial)}, events)

    def _goal_of(self, folder: Path, record: Rollout) -> Goal | None:
        used, candidate = models.target(folder, models.CURRENT), record.candidate
        used = used and Path(used).name
        mine = self._intake.engine.bundle
        if used is not None and used != mine.path.name:
            return Goal(used, "", mine.path.name)
        if candidate is not None and candidate.state in (VERIFIED, TRIAL):
            return Goal(candidate.folder, candidate.sha256, mine.path.name)
        return None

    def _begin(self, folder: Path, journal: Journal, goal: Goal) -> None:
        """Set a shadow to work; what cannot be loaded is rejected."""
        from epithermal_edge.rollout import rollout
        from epithermal_edge.rollout.trial import Shadow, time_steps

        since_seq, mine = -1, self._intake.engine
        if goal.sha256:
            candidate = rollout.begin_trial(folder, journal.last_seq())
            if candidate is None:
                return
            since_seq = candidate.since_seq
        try:
            engine = load_engine(self._config, folder / goal.folder)
            if goal.sha256 and engine.bundle.sha256 != goal.sha256:
                raise BundleError(f"{engine.bundle.path}: is not what was verified")
        except BundleError as fault:
            self._refuse(folder, goal, str(fault))
            return
        shadow = Shadow(engine, models.title(mine.bundle), since_seq)
        shadow.tally.step_s = time_steps(engine.step, engine.bundle)
        shadow.tally.step_current_s = time_steps(mine.step, mine.bundle)
        self._shadow, self._behind = shadow, True

    def _refuse(self, folder: Path, goal: Goal, why: str) -> None:
        from epithermal_edge.rollout import rollout

        if goal.sha256:
            with models.locked(folder):
                rollout.reject(folder, why)
            self._look_at = -math.inf
        else:
            log.error("%s; %s stays in use", why, goal.beside)
        self._shadow, self._behind = None, False

    def _follow(self, folder: Path, journal: Journal, shadow: Shadow) -> None:
        """Take some records in; when there are no more, decide."""
        from epithermal_edge.journal import history as archive
        from epithermal_edge.rollout import trial

        assert self._goal is not None
        last = journal.last_seq()
        if shadow.seq < last:
            with closing(archive.open_readonly(journal.path)) as db:
                entries = list(archive.told(db, shadow.seq, limit=BATCH))
            try:
                for entry in entries:
                    shadow.take(entry)
            except Exception:
                log.exception("%s cannot take a record", self._goal.folder)
                self._refuse(folder, self._goal, "it fails on a record")
                return
            if not entries:
                shadow.seq = last  # what is left is damaged on the disk
        self._behind = shadow.seq < last
        if not self._goal.sha256:
            verdict = None if self._behind else trial.Verdict(True, "")
        elif self._behind and not shadow.tally.not_finite:
            return
        else:
            verdict = trial.verdict(shadow.tally, self._config.trial_hours)
        if verdict is not None:
            self._decide(folder, self._goal, shadow, verdict)

    def _decide(self, folder: Path, goal: Goal, shadow: Shadow, verdict: Verdict) -> None:
        from epithermal_edge.rollout import rollout

        if not verdict.accepted:
            self._refuse(folder, goal, f"trial: {verdict.why}; {shadow.tally.hours} h were judged")
            return
        if goal.sha256:
            with models.locked(folder):
                candidate = read(folder).candidate
                if candidate is None or candidate.sha256 != goal.sha256:
                    return  # another took its place meanwhile; the next look tells
                rollout.commit(folder, shadow.engine.bundle, f"trial: {verdict.why}")
        self.forget()
        self._look_at = -math.inf
        bundle = shadow.engine.bundle
        log.info("%s takes over from %s", models.title(bundle), goal.beside)
        self._adopt(shadow.engine)
        self._intake.switch(shadow.engine, shadow.state)

    def health(self) -> dict[str, object] | None:
        """The model that is being made ready; None: there is none."""
        if self._shadow is None or self._goal is None:
            return None
        bundle, tally = self._shadow.engine.bundle, self._shadow.tally
        return {
            "model": models.title(bundle),
            "trial": bool(self._goal.sha256),
            "hours": tally.hours,
            "live_hours": tally.live_hours,
        }
