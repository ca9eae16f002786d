"""Wrong clocks: the station's, the logger's, both; before and after synchronisation.

The test knows the true time. The machine has a boot time and a wall clock with an error, the logger
a clock with another error; the station's timekeeper stamps the records, over restarts.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from dataclasses import dataclass, field

import pytest
from tests.faults.size import size
from tests.support.reference import published, reference
from tests.support.rig import (
    Broker,
    Line,
    Subscriber,
    lines,
    station_toml,
    validate_by_topic,
    wait_until,
)

from epithermal_edge.config.station_toml import read_config
from epithermal_edge.loggers import parser
from epithermal_edge.records import RawRecord
from epithermal_edge.station.clock import Clock
from epithermal_edge.station.daemon import Station
from epithermal_edge.station.stamps import SOUND, Rules
from epithermal_edge.station.timekeeper import Timekeeper
from epithermal_edge.times import DAY_S, HOUR_S

YEAR_S = 365 * DAY_S
START_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z
TOLERANCE_S = 600.0
LEAP_S = START_S + 12 * HOUR_S  # a second is repeated here


@dataclass
class Case:
    """Errors of the clocks [s] as functions of the true time [h since START_S]."""

    name: str
    wall: object = lambda h: 0.0
    synced: object = lambda h: True
    logger: object = lambda h: 0.0
    boots: tuple[float, ...] = (
        -0.5,
    )  # boots of the machine [h]; it is off for a minute before each
    stamps: str = "logger"
    refused: int = 0
    late: int = 0
    waiting: int = 0  # records that still wait for a clock at the end
    steps: int | None = 0
    least_sound: int = 0  # records with reliable stamps
    hours: int = 48


def between(begin, end, error_s):
    return lambda h: error_s if begin <= h < end else 0.0


def once(hour, error_s):
    return lambda h: error_s if round(h) == hour else 0.0


def never(h):
    return False


def after(hour):
    return lambda h: h >= hour


FOREVER = math.inf
SYSTEM = [
    Case("nothing is wrong", least_sound=48),
    Case("in the past at boot", between(-1, 5.5, -5 * YEAR_S), after(5.5), least_sound=43),
    Case("in the future at boot", between(-1, 5.5, 30 * DAY_S), after(5.5), least_sound=43),
    Case("+30 d by hand", between(20.5, 30.5, 30 * DAY_S), lambda h: not 20.5 <= h < 30.5,
         least_sound=38),
    Case("-2 y by hand", between(20.5, 30.5, -2 * YEAR_S), lambda h: not 20.5 <= h < 30.5,
         least_sound=38),
    Case("+1 h by hand, not seen as such", between(20.5, 20.51, HOUR_S), least_sound=47),
    Case("-1 h of a broken time server", between(20.5, 30.5, -HOUR_S), steps=None, least_sound=36),
    Case("+1 h of a broken time server", between(20.5, 30.5, HOUR_S), steps=None, least_sound=36),
    Case("never synchronised over two boots", between(-1, 999, -YEAR_S), never, boots=(-0.5, 20.2)),
    Case("leap second", lambda h: -1.0 if h >= 12 else 0.0, least_sound=48),
]  # fmt: skip
LOGGER = [
    Case("one digit of the year", logger=once(20, YEAR_S), refused=1, least_sound=47),
    Case("one digit of the day", logger=once(20, 10 * DAY_S), refused=1, least_sound=47),
    Case("one digit of a year past", logger=once(20, -YEAR_S), late=1, least_sound=47),
    Case("+30 d for ever", logger=between(20, FOREVER, 30 * DAY_S), steps=1, least_sound=48),
    Case("+30 d for a while", logger=between(20, 30, 30 * DAY_S), steps=1, least_sound=48),
    Case("-2 y for ever", logger=between(20, FOREVER, -2 * YEAR_S), steps=1, least_sound=48),
    Case("-2 y for a while", logger=between(20, 30, -2 * YEAR_S), steps=1, least_sound=48),
    Case("+1 h for ever", logger=between(20, FOREVER, HOUR_S), steps=1, least_sound=48),
    Case("-1 h for ever", logger=between(20, FOREVER, -HOUR_S), steps=1, least_sound=48),
    Case("+1 h for a while", logger=between(20, 30, HOUR_S), steps=1, least_sound=48),
    Case("-1 h for a while", logger=between(20, 30, -HOUR_S), steps=1, least_sound=48),
    Case("wrong from the first record", logger=lambda h: 30 * DAY_S, steps=1, least_sound=48),
    Case("one second for a leap second", logger=between(12, FOREVER, -1.0), least_sound=48),
]
BOTH = [
    Case("one digit of the year, no clock", synced=never, logger=once(20, YEAR_S), refused=1),
    Case("the first record's year, no clock", synced=never, logger=once(1, YEAR_S), refused=1),
    Case("-1 h, no clock", synced=never, logger=between(20, FOREVER, -HOUR_S), steps=1),
    Case("-2 y, no clock", synced=never, logger=between(20, FOREVER, -2 * YEAR_S), steps=1),
    Case("+30 d, no clock", synced=never, logger=between(20, FOREVER, 30 * DAY_S), steps=1),
    Case("+5 h from the start, a clock later", synced=after(5.5), logger=lambda h: 5 * HOUR_S,
         steps=2, late=4, least_sound=38),
    Case("-2 y, a clock later", synced=after(30.5), logger=between(20, FOREVER, -2 * YEAR_S),
         steps=None, least_sound=17),
    Case("-2 y at a restart, no clock", synced=never, boots=(-0.5, 19.7),
         logger=between(20, FOREVER, -2 * YEAR_S), steps=None, waiting=29),
    Case("-2 y at a restart, a clock later", synced=after(30.5), boots=(-0.5, 19.7),
         logger=between(20, FOREVER, -2 * YEAR_S), steps=None, least_sound=28),
]  # fmt: skip
STATION = [
    Case("synchronised", stamps="station", least_sound=48),
    Case("in the past at boot", between(-1, 5.5, -5 * YEAR_S), after(5.5), stamps="station",
         least_sound=48),
    Case("+30 d by hand", between(20.5, 30.5, 30 * DAY_S), lambda h: not 20.5 <= h < 30.5,
         stamps="station", least_sound=48),
    Case("never over two boots", between(-1, 999, -YEAR_S), never, boots=(-0.5, 20.2),
         stamps="station", waiting=48),
    Case("never over two boots, then in the third", between(-1, 30.5, -YEAR_S), after(30.5),
         boots=(-0.5, 10.2, 20.2), stamps="station", least_sound=28),
    Case("leap second", lambda h: -1.0 if h >= 12 else 0.0, stamps="station", least_sound=48),
]  # fmt: skip


@dataclass
class World:
    """True time, machine and logger, and the records that the station stamped."""

    case: Case
    interval_s: float
    now_s: float = START_S
    boot: int = -1
    kept: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)  # (number, end_s, time_q, start_s, late)
    events: list = field(default_factory=list)
    keeper: Timekeeper | None = None
    last_end_s: float = -math.inf

    def hour(self):
        return (self.now_s - START_S) / HOUR_S

    def start(self):
        """Boot the machine; only what is on disk remains."""
        self.boot += 1
        clock = Clock(
            boottime=lambda: self.now_s - START_S - self.case.boots[self.boot] * HOUR_S + 20.0,
            wall=lambda: self.now_s + self.case.wall(self.hour()),
            synchronised=lambda: self.case.synced(self.hour()),
            boot_id=lambda: f"boot {self.boot}",
        )
        rules = Rules(self.interval_s, TOLERANCE_S, self.case.stamps)
        self.keeper = Timekeeper(rules, clock, self.kept, self.last_end_s)

    def hear(self, number):
        """Send a record to the station; its counts are its number, which gives the true end."""
        end_s = self.now_s + self.case.logger(self.hour())
        self.now_s += 2.0  # transmission
        record = RawRecord(end_s, self.interval_s + 1.0, float(number))
        self.apply(self.keeper.stamp_record(record, self.keeper.arrival().boottime_s))
        self.now_s -= 2.0

    def check_clock(self):
        self.apply(self.keeper.update_clock())

    def apply(self, verdict):
        changed = self.keeper.changes(verdict.state)
        self.keeper.apply(verdict)
        self.keeper.mark_stored(changed)
        self.kept = {k: v for k, v in (self.kept | changed).items() if v is not None}
        self.events += verdict.events
        for stamped in verdict.stamped:
            end_s, length_s = stamped.record.end_s, float(stamped.record.duration_s)
            late = end_s <= self.last_end_s
            begin_s = end_s - length_s if late else max(end_s - length_s, self.last_end_s)
            self.rows.append((int(stamped.record.counts), end_s, stamped.time_q, begin_s, late))
            self.last_end_s = max(self.last_end_s, end_s)


def run_world(case, interval_s=HOUR_S):
    world = World(case, interval_s)
    count = int(case.hours * HOUR_S / interval_s)
    boots = list(case.boots)
    world.now_s = START_S + boots.pop(0) * HOUR_S
    world.start()
    for number in range(1, count + 1):
        end_s = START_S + number * interval_s
        while boots and START_S + boots[0] * HOUR_S < end_s:
            world.now_s = START_S + boots.pop(0) * HOUR_S
            world.start()
        for share in (0.25, 0.75):
            world.now_s = end_s - share * interval_s
            world.check_clock()
        world.now_s = end_s
        world.hear(number)
    world.check_clock()
    return world


def check_promise(world, interval_s=HOUR_S):
    """Assert that intervals neither repeat, overlap nor vanish and no false stamp is sound."""
    numbers = [number for number, *_ in world.rows]
    assert len(numbers) == len(set(numbers))
    held = len(world.keeper.state.held)
    count = int(world.case.hours * HOUR_S / interval_s)
    assert len(numbers) + held + world.keeper.state.refused == count
    on_time = [row for row in world.rows if not row[4]]
    for (_, end_s, *_), (_, next_end_s, _, begin_s, _) in itertools.pairwise(on_time):
        assert begin_s >= end_s and next_end_s > begin_s
    false = [
        (number, time_q, end_s - START_S - number * interval_s)
        for number, end_s, time_q, *_ in world.rows
        if time_q in SOUND and abs(end_s - START_S - number * interval_s) > TOLERANCE_S
    ]
    assert not false


@pytest.mark.parametrize(
    "case", [*SYSTEM, *LOGGER, *BOTH, *STATION], ids=lambda c: f"{c.stamps}: {c.name}"
)
def test_no_clock_makes_an_interval_twice_or_a_false_stamp_good(case, record_property):
    world = run_world(case)
    check_promise(world)
    state = world.keeper.state
    late = sum(row[4] for row in world.rows)
    sound = sum(row[2] in SOUND for row in world.rows)
    record_property("late", late)
    record_property("sound", sound)
    assert (state.refused, late, len(state.held)) == (case.refused, case.late, case.waiting)
    assert case.steps is None or state.steps == case.steps
    assert sound >= case.least_sound


def random_case(rng):
    """Return clocks that step at random; the wall clock is true while it is synchronised."""
    errors = [YEAR_S, -2 * YEAR_S, 30 * DAY_S, -30 * DAY_S, HOUR_S, -HOUR_S, 40.0, -40.0]
    steps = sorted(
        (rng.uniform(0, 48), rng.choice([0.0, *errors])) for _ in range(rng.randrange(4))
    )
    digits = {rng.randrange(1, 49): rng.choice(errors) for _ in range(rng.randrange(3))}
    windows = [tuple(sorted((rng.uniform(-1, 48), rng.uniform(-1, 60)))) for _ in range(2)]
    boots = (-0.5, *sorted(rng.uniform(1, 47) for _ in range(rng.randrange(3))))

    def logger(h):
        return digits.get(round(h), 0.0) + ([0.0] + [e for begin, e in steps if h >= begin])[-1]

    def synced(h):
        return any(begin <= h < end for begin, end in windows)

    def wall(h):
        return 0.0 if synced(h) else -YEAR_S

    stamps = rng.choice(["logger", "logger", "station"])
    return Case("random", wall, synced, logger, boots, stamps)


@pytest.mark.timeout(1200)
def test_no_mixture_of_clocks_breaks_the_promise(record_property):
    worlds, seed = size(60, 2000), 20261126
    print("seed", seed)
    rng = random.Random(seed)
    sound = late = refused = 0
    for _ in range(worlds):
        case = random_case(rng)
        world = run_world(case)
        check_promise(world)
        sound += sum(row[2] in SOUND for row in world.rows)
        late += sum(row[4] for row in world.rows)
        refused += world.keeper.state.refused
    for name, value in (("worlds", worlds), ("sound", sound), ("late", late), ("refused", refused)):
        record_property(name, value)
    assert sound > 10 * worlds


@dataclass
class ManualClock:
    """A clock that a test drives."""

    case: Case
    now_s: float = START_S

    def clock(self):
        def hour():
            return (self.now_s - START_S) / HOUR_S

        return Clock(
            boottime=lambda: self.now_s - START_S + 1000.0,
            wall=lambda: self.now_s + self.case.wall(hour()),
            synchronised=lambda: self.case.synced(hour()),
            boot_id=lambda: "one",
        )


def stamped(text, error_s):
    """Return a line of records.csv stamped by a clock with an error."""
    context, _ = parser.parse(parser.start("records"), parser.RECORDS_HEADER[:-1])
    record = parser.parse(context, text.rstrip(b"\n"))[1]
    return parser.format_record(RawRecord(record.end_s + error_s, *fields_of(record)[1:]))


def fields_of(record):
    return [getattr(record, name) for name in RawRecord.__slots__]


END_TO_END = [
    Case("one digit of the year", logger=once(12, YEAR_S), refused=1, hours=24),
    Case("in the past at boot", between(-1, 9.5, -YEAR_S), after(9.5), stamps="station", hours=24),
    Case("in the past at boot", between(-1, 9.5, -5 * YEAR_S), after(9.5), hours=24),
    Case("-1 h for ever", logger=between(12, FOREVER, -HOUR_S), steps=1, hours=24),
]


@pytest.fixture
def site(tmp_path):
    """Yield a broker, a subscriber and a logger's line."""
    broker, line = Broker(tmp_path), Line()
    ears = Subscriber(broker.port)
    yield broker, ears, line
    ears.close()
    line.close()
    broker.stop()


@pytest.mark.parametrize("case", END_TO_END[: size(2, 4)], ids=lambda c: f"{c.stamps}: {c.name}")
def test_a_subscriber_gets_the_records_of_a_station_with_true_clocks(tmp_path, site, case):
    """Expect the ends, order and thetas of a run without faults, without the rejected records."""
    header, *sent = lines(1.0)
    broker, ears, line = site
    source = f'dialect = "records"\nstamps = "{case.stamps}"\n'
    toml = station_toml(tmp_path, url=line.name, port=broker.port, source=source)
    manual, stations = ManualClock(case), []

    def run():
        stations.append(Station(read_config(toml), clock=manual.clock()))
        stations[0].run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until(lambda: bool(stations))
    (station,) = stations
    try:
        wait_until(lambda: station._reader.opened > 0)
        time.sleep(0.3)  # bytes written before the port opens are lost
        line.write(header)
        for hour, text in enumerate(sent, 1):
            manual.now_s = START_S + hour * HOUR_S
            line.write(stamped(text, case.logger(hour)))
            wait_until(lambda hour=hour: heard(station) == hour)
        wait_until(lambda: len(ears.of("obs/theta")) == case.hours - case.refused)
    finally:
        station.stop()
        thread.join(20.0)
    right = [text for hour, text in enumerate(sent, 1) if case.logger(hour) != YEAR_S]
    assert published(ears.of("obs/theta")) == reference(toml, [header, *right])
    validate_by_topic(ears.messages)
    steps = ears.of("event/clock_step") + ears.of("event/stamp_refused")
    assert len(steps) == case.steps + case.refused
    assert {m["time_q"] for m in ears.of("obs/theta")} <= {*SOUND, "logger_unchecked"}


def heard(station):
    health = station._intake.clock_health()
    return station.counts.records + health["held"] + health["refused"]
