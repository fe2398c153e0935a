"""Hundreds of damaged and forged files: refused or harmless, never a crash or a hang."""

from collections import Counter

import pytest
from file_mutations import KINDS, attack
from hypothesis import settings

CASES = settings.default.max_examples * 12


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_damaged_and_forged_files_are_refused_or_harmless(kind, tmp_path):
    outcomes = Counter()
    for seed in range(CASES):
        try:
            outcomes[attack(kind, seed, tmp_path / "case")] += 1
        except BaseException as error:
            error.add_note(f"attack({kind!r}, {seed})")
            raise
    assert outcomes["refused"] > CASES // 10, outcomes
