"""The model step as a value: which phases follow each other, and what a state file may say of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.runtime.model_step import ModelStep, Phase


def next_step(step):
    """What a component does to the value in one framework step."""
    if step.stored and step.phase is Phase.READY:
        step = step.begin()
    return step.following


def walk(step, n):
    values = [step]
    for _ in range(n):
        values.append(next_step(values[-1]))
    return values


def test_pushed_forcing_is_collected_then_released_over_the_next_model_step():
    values = walk(ModelStep.at_start(4, stored=False, position=3), 6)
    phases = ["collecting", "complete", "collecting", "collecting", "collecting", "complete", "collecting"]
    assert [v.phase.value for v in values] == phases
    assert [(v.position, v.number(k)) for k, v in enumerate(values)] == [
        (3, 0),
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 1),
        (0, 2),
        (1, 2),
    ]
    assert [v.unreleased for v in values[1:]] == [0.0, 0.75, 0.5, 0.25, 0.0, 0.75]
    assert [v.is_last for v in values] == [True, False, False, False, True, False, False]


def test_stored_forcing_is_released_over_its_own_model_step():
    values = walk(ModelStep.at_start(4, stored=True, position=2), 4)
    assert [v.phase.value for v in values] == ["ready", "releasing", "ready", "releasing", "releasing"]
    assert [(v.shares, v.unreleased) for v in values[1:]] == [(2, 0.5), (2, 0.0), (4, 0.75), (4, 0.5)]


@pytest.mark.parametrize("stored", [False, True])
def test_equal_steps_are_always_ready_and_release_at_once(stored):
    for k, step in enumerate(walk(ModelStep.at_start(1, stored), 5)):
        assert step.phase is Phase.READY
        assert (step.position, step.number(k), step.shares, step.unreleased) == (0, k, 1, 0.0)
        assert not step.due


@given(st.integers(1, 30), st.booleans(), st.data())
def test_position_goes_round_and_everything_is_released_in_the_end(length, stored, data):
    start = data.draw(st.integers(0, length - 1))
    for count, step in enumerate(walk(ModelStep.at_start(length, stored, start), 3 * length)):
        assert (step.number(count), step.position) == divmod(start + count, length)
        assert 0 <= step.unreleased <= 1
        assert (step.phase is Phase.COMPLETE) == step.due
        assert (step.phase is Phase.READY) == step.begins
        if step.position == 0:
            assert step.unreleased == 0


@given(st.integers(1, 30), st.booleans(), st.data())
def test_a_value_comes_back_from_its_header_wherever_it_was(length, stored, data):
    start = data.draw(st.integers(0, length - 1))
    count = data.draw(st.integers(0, 3 * length))
    step = walk(ModelStep.at_start(length, stored, start), count)[-1]
    fresh = ModelStep.at_start(length, stored)
    assert fresh.restored(step.header()) is step


GOOD = {"position": 0, "shares": 4, "due": True, "begun": False}


@pytest.mark.parametrize(
    ("change", "stored", "message"),
    [
        ({"position": 4}, False, "position 4, shares 4"),
        ({"position": -1}, False, "position -1"),
        ({"shares": 0}, False, "shares 0"),
        ({"shares": 5}, False, "shares 5"),
        ({"position": "x"}, False, "'position': invalid literal"),
        ({"position": None}, False, "'position': int"),
        ({"position": float("inf")}, False, "'position': cannot convert"),
        ({"position": 2}, False, "due True"),
        ({}, True, "due True"),
        ({"position": 1, "shares": 2, "due": False}, True, "position 1, shares 2"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(change, stored, message):
    with pytest.raises(ValueError, match=message):
        ModelStep.at_start(4, stored).restored({**GOOD, **change})


@pytest.mark.parametrize("key", GOOD)
def test_a_header_without_a_number_is_refused(key):
    with pytest.raises(ValueError, match=f"'{key}' is missing"):
        ModelStep.at_start(4, stored=False).restored({k: v for k, v in GOOD.items() if k != key})


def test_equal_steps_are_never_due():
    with pytest.raises(ValueError, match="due True"):
        ModelStep.at_start(1, stored=False).restored({**GOOD, "shares": 1})
