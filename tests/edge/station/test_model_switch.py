"""A running station tries a new model and switches to it between two records, or rejects it."""

import itertools
import json
import time

import pytest
from tests.support.bundles import links, nan_bundle, version
from tests.support.reference import published, reference
from tests.support.rig import (
    BUNDLE,
    PATIENCE_S,
    Broker,
    Daemon,
    Line,
    Subscriber,
    lines,
    station_toml,
    validate_by_topic,
    wait_until,
)

from epithermal_edge.config.station_toml import Trust
from epithermal_edge.rollout import installed, rollout, state_file

HEADER, *LINES = lines(8.0)
HISTORY, TRIAL_HOURS = 72, 4


class Scene:
    """A station with broker and logger."""

    def __init__(self, folder):
        self.models = folder / "models"
        self.request = rollout.Request(Trust(unsigned=True))
        rollout.install(self.models, BUNDLE, self.request)
        self.broker, self.line, self.at = Broker(folder), Line(), 0
        self.ears = Subscriber(self.broker.port)
        self.toml = station_toml(
            folder,
            url=self.line.name,
            port=self.broker.port,
            bundle=self.models / "current",
            model=f"unsigned = true\ntrial_hours = {TRIAL_HOURS}\n",
        )
        self.daemon = Daemon(self.toml).ready()
        self.line.write(HEADER)
        self.hours(HISTORY)

    def hours(self, count):
        """Send these hours and wait for their estimates."""
        self.line.write(b"".join(LINES[self.at : self.at + count]))
        self.at += count
        wait_until(lambda: len(self.ears.theta_once()) == self.at, self.daemon.log())

    def until(self, kind):
        """Send hours until an event of this kind is published."""
        before = len(self.ears.of(f"event/{kind}"))
        end = time.monotonic() + PATIENCE_S
        while len(self.ears.of(f"event/{kind}")) == before:
            assert time.monotonic() < end, self.daemon.log()[-3000:]
            if self.at < len(LINES) - 20:
                self.hours(1)
            time.sleep(0.1)

    def next_version(self):
        self.hours(1)
        return self.ears.of("obs/theta")[-1]["model"]["version"]

    def close(self):
        self.daemon.kill()
        self.ears.close()
        self.broker.stop()
        self.line.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Yield a live station after a good model, one that failed its trial, and a rollback."""
    folder = tmp_path_factory.mktemp("model_switch")
    scene = Scene(folder)
    scene.seen = []
    try:
        rollout.install(scene.models, version(folder, "0.2.0"), scene.request)
        scene.until("model_committed")
        scene.seen.append((scene.next_version(), links(scene.models)["current"]))
        rollout.install(scene.models, nan_bundle(folder, "0.3.0"), scene.request)
        scene.until("model_rejected")
        scene.seen.append((scene.next_version(), links(scene.models)["current"]))
        installed.roll_back(scene.models)
        scene.until("model_rolled_back")
        wait_until(lambda: scene.next_version() == "0.1.0", scene.daemon.log())
        scene.seen.append(("0.1.0", links(scene.models)["current"]))
        wait_until(lambda: scene.ears.of("meta")[-1]["model"]["version"] == "0.1.0")
        yield scene
    finally:
        scene.close()


def test_it_accepts_a_good_model_rejects_a_bad_one_and_rolls_back(scene):
    assert scene.seen == [
        ("0.2.0", "bucket-0.2.0"),
        ("0.2.0", "bucket-0.2.0"),
        ("0.1.0", "bucket-0.1.0"),
    ]


def test_no_hour_is_lost_and_each_estimate_is_as_if_the_model_had_always_been_there(scene):
    first = scene.ears.theta_once()
    assert [int(p["id"].split(":")[2]) for p in first] == list(range(1, scene.at + 1))
    expected = reference(scene.toml, [HEADER, *LINES[: scene.at]])  # the versions compute alike
    assert published(first) == expected
    versions = [p["model"]["version"] for p in first]
    breaks = [b for a, b in itertools.pairwise(versions) if a != b]
    assert [versions[0], *breaks] == ["0.1.0", "0.2.0", "0.1.0"]
    assert scene.daemon.process.poll() is None and "opened=2" not in scene.daemon.log()


def test_a_trial_lasts_as_many_live_hours_as_are_asked_for(scene):
    (text,) = (
        e["text"] for e in scene.ears.of("event/model_committed") if "bucket 0.2.0" in e["text"]
    )
    live = int(text.split(" h, ")[1].split(" ")[0])
    assert live >= TRIAL_HOURS and "mean difference 0.0000" in text


def test_every_step_is_reported_once_in_order_and_by_contract(scene):
    validate_by_topic(scene.ears.messages)
    reports = [
        (topic.rpartition("/")[2].removeprefix("model_"), json.loads(payload)["text"])
        for topic, payload in scene.ears.messages
        if "/event/model_" in topic
    ]
    way = ["staged", "verified", "trial"]
    kinds = ["staged", "verified", "committed", *way, "committed", *way, "rejected", "rolled_back"]
    assert [kind for kind, _ in reports] == kinds
    assert "not a number" in reports[-2][1] and "bucket 0.3.0" in reports[-2][1]
    assert [e.kind for e in state_file.read(scene.models).events] == [f"model_{k}" for k in kinds]


def test_meta_is_published_again_with_each_model(scene):
    versions = [p["model"]["version"] for p in scene.ears.of("meta")]
    assert [v for i, v in enumerate(versions) if i == 0 or v != versions[i - 1]] == [
        *("0.1.0", "0.2.0", "0.1.0")
    ]
