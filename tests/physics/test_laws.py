"""What every process model must obey, whatever its equations."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def levels(model):
    return {f.name for f in model.declaration.fluxes if f.aggregation == "last"}


@given(seed=seeds)
def test_a_step_returns_what_is_declared_and_changes_nothing_it_was_given(process_model, ready, seed):
    declared = process_model.declaration
    forcing, state, go_on = ready(process_model, 1, 3, seed)
    before = deepcopy((forcing, state))
    fluxes, new = go_on(forcing, state)
    assert fluxes.keys() == {f.name for f in declared.fluxes}
    assert {k: v.shape for k, v in new.items()} == {s.name: (3, *s.shape) for s in declared.states}
    assert all(v.shape == (1, 3) and v.dtype == torch.float64 for v in fluxes.values())
    for kept, now in zip(before, (forcing, state), strict=True):
        assert all(torch.equal(kept[name], now[name]) for name in kept)


@precisions
@given(seed=seeds, cuts=st.sets(st.integers(1, 59)), rows=st.integers(1, 3))
def test_splitting_in_time_never_changes_the_answer(process_model, ready, splitting, dtype, seed, cuts, rows):
    forcing, state, go_on = ready(process_model, 60, rows, seed, dtype=dtype)
    whole, end = go_on(forcing, state)
    for places in (cuts, range(60)):
        pieces, last = splitting.in_pieces(go_on, forcing, state, places)
        splitting.assert_agree(pieces, whole, dtype, levels(process_model))
        splitting.assert_agree(last, end, dtype, end)


@precisions
@given(seed=seeds, order=st.permutations(range(3)), n=st.integers(1, 3))
def test_a_row_never_depends_on_its_neighbours(process_model, ready, splitting, dtype, seed, order, n):
    forcing, state, go_on = ready(process_model, 60, 3, seed, dtype=dtype)
    chosen = order[:n]
    whole, end = go_on(forcing, state)
    part, last = go_on(
        {k: v[:, chosen] for k, v in forcing.items()}, {k: v[chosen] for k, v in state.items()}, chosen
    )
    splitting.assert_agree(part, {k: v[:, chosen] for k, v in whole.items()}, dtype, levels(process_model))
    splitting.assert_agree(last, {k: v[chosen] for k, v in end.items()}, dtype, end)


@given(seed=seeds, cut=st.integers(1, 29))
def test_the_future_does_not_change_the_past(process_model, ready, seed, cut):
    forcing, state, go_on = ready(process_model, 30, 2, seed)
    other, _, _ = ready(process_model, 30, 2, seed + 7)
    whole, _ = go_on(forcing, state)
    changed, _ = go_on({k: torch.cat([v[:cut], other[k][cut:]]) for k, v in forcing.items()}, state)
    assert all(torch.equal(whole[name][:cut], changed[name][:cut]) for name in whole)
    assert not all(torch.equal(whole[name], changed[name]) for name in whole)
