"""Whatever is called in whatever order: the reference's answer or a due error, and nothing in between."""

import pytest
from bmi_sequences import Pair, sequences, setups
from hypothesis import given, settings


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return setups(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.slow
@settings(max_examples=settings.default.max_examples * 40)
@given(sequence=sequences())
def test_any_sequence_of_calls_gives_the_answers_of_the_reference(made, sequence):
    Pair(made).play(sequence)
