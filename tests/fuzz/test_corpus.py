"""What coverage-guided fuzzing has kept is read, or refused by an error of the family."""

import pytest
import targets
from file_mutations import limit

CASES = [(file.parent.name, file.name) for file in sorted(targets.CORPUS.glob("*/*"))]


@pytest.mark.parametrize(("target", "case"), CASES, ids=["-".join(case) for case in CASES])
def test_bytes_that_fuzzing_kept_are_read_or_refused(target, case, tmp_path):
    with limit(60):
        targets.attempt(target, (targets.CORPUS / target / case).read_bytes(), tmp_path / "case")


def test_every_target_has_a_corpus():
    assert {target for target, _ in CASES} == {*targets.TARGETS}


@pytest.mark.parametrize(
    "target", ["run_config", "dmg_ep5", "dmg_config", "forcing", "bundle", "csv", "state"]
)
def test_a_harness_reaches_what_it_is_for(target, tmp_path):
    """A harness that refuses everything would find nothing."""
    taken = [
        targets.attempt(target, file.read_bytes(), tmp_path / "case")
        for file in sorted((targets.CORPUS / target).iterdir())
    ]
    assert any(taken)
