"""A bundle that is saved anew while it is read is read whole: the old one or the new one."""

import pytest
import torch

from dmg_bmi import Bundle, DeltaModelBmi
from dmg_bmi.cli import main
from dmg_bmi.errors import BundleError
from dmg_bmi.model.bundle import RETRIES, BundleInfo


@pytest.fixture
def other(bundles):
    """Make ``other(k)``: the model of the other tests with other weights."""

    def make(k=1):
        model = Bundle.load(bundles().path).model
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(0.01 * k)
        return Bundle(model, f"other {k}")

    return make


@pytest.fixture
def replaced(bundles, other, tmp_path, monkeypatch):
    """Make ``replaced(times, bundle) -> folder``, saved over whenever its weights are about to be opened."""

    def make(times=1, bundle=None):
        folder = bundles().copy(tmp_path / "bundle").path
        left = [*range(1, times + 1)]
        read = BundleInfo._weights

        def interleaved(info):
            if left and info.path == folder:
                (bundle or other(left.pop(0))).save(folder)
            return read(info)

        monkeypatch.setattr(BundleInfo, "_weights", interleaved)
        return folder

    return make


@pytest.mark.parametrize("times", [1, RETRIES])
def test_the_new_bundle_is_loaded_whole(replaced, other, times):
    loaded = Bundle.load(replaced(times))
    assert loaded.name == f"other {times}"
    for name, weights in other(times).model.state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[name], weights, rtol=0, atol=0)


def test_a_component_is_of_the_bundle_whose_weights_it_runs(replaced, configure):
    folder = replaced()
    old = BundleInfo.read(folder)
    component = DeltaModelBmi()
    component.initialize(str(configure(old, n=1)))
    new = BundleInfo.read(folder)
    assert new.fingerprint != old.fingerprint
    assert component.component.info.fingerprint == new.fingerprint
    assert component.get_component_name() == "other 1"


def test_a_copy_is_whole(replaced, tmp_path):
    copied = BundleInfo.read(replaced()).copy(tmp_path / "copy")
    assert copied.name == "other 1"
    assert Bundle.load(tmp_path / "copy").name == "other 1"


def test_a_bundle_of_other_variables_is_no_such_bundle(replaced, bundles):
    folder = replaced(bundle=Bundle.load(bundles("column").path))
    with pytest.raises(BundleError):
        Bundle.load(folder)


def test_who_replaces_it_without_end_is_told_of(replaced):
    with pytest.raises(BundleError):
        Bundle.load(replaced(RETRIES + 1))


def test_a_torn_bundle_is_refused_at_once(bundles, tmp_path, monkeypatch):
    info = bundles().copy(tmp_path / "bundle")
    (info.path / info.weights_file).unlink()
    tried = []
    read = BundleInfo._weights
    monkeypatch.setattr(BundleInfo, "_weights", lambda one: (tried.append(one), read(one))[1])
    with pytest.raises(BundleError):
        Bundle.load(info.path)
    assert len(tried) == 1


def test_what_is_inspected_is_one_bundle(replaced, capsys):
    folder = replaced()
    assert main(["inspect", str(folder)]) == 0
    assert BundleInfo.read(folder).fingerprint[:12] in capsys.readouterr().out
