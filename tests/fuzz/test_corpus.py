"""What coverage-guided fuzzing has kept is read, or refused by an error of the family."""

import pytest
import targets
from file_mutations import limit

CASES = [(file.parent.name, file.name) for file in sorted(targets.CORPUS.glob("*/*"))]


@pytest.mark.parametrize(("target", "case"), CASES, ids=["-".join(case) for case in CASES])
def test_bytes_that_fuzzing_kept_are_read_or_refused(target, case, tmp_path):
    with limit(60):
        targets.attempt(target, (targets.CORPUS / target / case).read_bytes(), tmp_path / "case")


SEEDS = [(target, k) for target in sorted(targets.SEEDED) for k in range(len(targets.seeds(target)))]


@pytest.mark.parametrize(("target", "k"), SEEDS, ids=[f"{target}-{k}" for target, k in SEEDS])
def test_a_whole_file_is_read_so_a_harness_reaches_what_it_is_for(target, k, tmp_path):
    """A harness that refuses everything would find nothing."""
    assert targets.attempt(target, targets.seeds(target)[k], tmp_path / "case")


def test_every_target_has_something_to_begin_with():
    assert {target for target, _ in CASES} | targets.SEEDED == {*targets.TARGETS}


@pytest.mark.parametrize("target", ["run_config", "dmg_ep5", "dmg_config", "csv"])
def test_a_corpus_holds_what_its_reader_takes(target, tmp_path):
    taken = [
        targets.attempt(target, file.read_bytes(), tmp_path / "case")
        for file in sorted((targets.CORPUS / target).iterdir())
    ]
    assert any(taken)
