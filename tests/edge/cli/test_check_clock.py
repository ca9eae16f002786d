"""What `check` says of the clock: why, and what to do."""

import itertools

import pytest

from epithermal_edge.cli import check_clock


@pytest.mark.parametrize(
    ("facts", "why", "remedy"),
    [
        ((True, True, "on", True), "there is a hardware clock", ""),
        ((True, False, None, False), "no hardware clock", "i2c-rtc"),
        ((False, False, "off", True), "never synchronised since the start: NTP is", "set-ntp true"),
        ((False, False, "missing", False), "no NTP service is installed; no hard", "apt install"),
        ((False, False, "on", True), "NTP is on but reaches no server", "UDP 123"),
        ((False, True, "on", True), "not synchronised now", "UDP 123"),
        ((False, False, None, True), "the kernel's clock is not kept", "chrony"),
    ],
)
def test_each_state_of_a_clock_has_its_reason_and_remedy(facts, why, remedy):
    told = check_clock.judge(*facts)
    assert why in told[0] and remedy in told[1] and bool(remedy) == bool(told[1])


def test_only_a_true_clock_that_outlives_a_power_cut_needs_nothing():
    ways = itertools.product([True, False], [True, False], ["on", "off", "missing", None], [0, 1])
    for is_synchronised, since, ntp, has_rtc in ways:
        _, remedy = check_clock.judge(is_synchronised, since, ntp, bool(has_rtc))
        assert (remedy == "") == (is_synchronised and bool(has_rtc))


@pytest.mark.parametrize(
    ("says", "ntp"),
    [
        ("echo CanNTP=yes; echo NTP=yes", "on"),
        ("echo CanNTP=yes; echo NTP=no", "off"),
        ("echo CanNTP=no; echo NTP=no", "missing"),
        ("echo", None),
        ("exit 1", None),
    ],
)
def test_timedatectl_is_understood(says, ntp):
    assert check_clock._ntp(("sh", "-c", says)) == ntp


def test_without_timedatectl_the_kernel_alone_is_asked():
    assert check_clock._ntp(("/nowhere/timedatectl",)) is None


def test_the_machine_that_tests_has_a_clock_of_which_something_is_said():
    why, _ = check_clock.examine()
    assert "synchronised" in why
