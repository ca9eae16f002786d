"""`check` reports the state of the clock with reason and remedy."""

import itertools

import pytest

from epithermal_edge.cli import check_clock


@pytest.mark.parametrize(
    ("facts", "why", "remedy"),
    [
        ((True, True, "on", True), "has a hardware clock", ""),
        ((True, False, None, False), "no hardware clock", "i2c-rtc"),
        ((False, False, "off", True), "not synchronised since boot: NTP is", "set-ntp true"),
        ((False, False, "missing", False), "no NTP service is installed; no hard", "apt install"),
        ((False, False, "on", True), "NTP is on but reaches no server", "UDP 123"),
        ((False, True, "on", True), "not synchronised now", "UDP 123"),
        ((False, False, None, True), "nothing synchronises the clock", "chrony"),
    ],
)
def test_each_state_of_a_clock_has_its_reason_and_remedy(facts, why, remedy):
    reason, action = check_clock.judge(*facts)
    assert why in reason and remedy in action and bool(remedy) == bool(action)


def test_only_a_synchronised_hardware_clock_needs_no_remedy():
    ways = itertools.product([True, False], [True, False], ["on", "off", "missing", None], [0, 1])
    for is_synchronised, since, ntp, has_rtc in ways:
        _, remedy = check_clock.judge(is_synchronised, since, ntp, bool(has_rtc))
        assert (remedy == "") == (is_synchronised and bool(has_rtc))


@pytest.mark.parametrize(
    ("script", "ntp"),
    [
        ("echo CanNTP=yes; echo NTP=yes", "on"),
        ("echo CanNTP=yes; echo NTP=no", "off"),
        ("echo CanNTP=no; echo NTP=no", "missing"),
        ("echo", None),
        ("exit 1", None),
    ],
)
def test_the_output_of_timedatectl_is_parsed(script, ntp):
    assert check_clock._ntp(("sh", "-c", script)) == ntp


def test_without_timedatectl_the_state_of_ntp_is_unknown():
    assert check_clock._ntp(("/nowhere/timedatectl",)) is None


def test_the_clock_of_this_machine_is_judged():
    why, _ = check_clock.examine()
    assert "synchronised" in why
