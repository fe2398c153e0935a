"""A bundle is read as it was written, or refused with the reason; reading runs no code."""

import json
import os
import re
import shutil

import pytest
import safetensors.torch
import torch
import yaml

from dmg_bmi import __version__
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import BundleError
from dmg_bmi.io.files import canonical, sha256
from dmg_bmi.model.bundle import Bundle, BundleInfo
from dmg_bmi.model.bundle_files import DESCRIPTION
from dmg_bmi.model.delta_model import DAY


@pytest.fixture
def copied(bundles, tmp_path):
    """A bundle of one's own, to damage."""
    return shutil.copytree(bundles("lstm_mlp").path, tmp_path / "bundle")


def rewrite(folder, change, seal=True):
    """Change the description; `seal` it with a checksum that fits."""
    file = folder / DESCRIPTION
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    change(content)
    if seal:
        content.pop("checksum", None)
        content["checksum"] = sha256(canonical(content))
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


# -- what is saved comes back -------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp", "fixed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_bundle_gives_the_model_back(bundles, weather, attributes, kind, dtype):
    info = bundles(kind, DAY, dtype)
    one, other = info.load_model(), Bundle.load(info.path).model
    assert not one.training
    assert not any(p.requires_grad for p in one.parameters())
    assert one.describe() == other.describe()
    assert all(p.dtype == dtype for p in one.parameters())
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    forcing = {name: torch.from_numpy(values) for name, values in weather(20, 2).items()}
    a, b = (model(forcing, attributes(2))[0]["Q"] for model in (one, other))
    assert torch.equal(a, b)


def test_saving_the_same_again_keeps_the_fingerprint_and_other_weights_change_it(bundles, tmp_path):
    bundle = Bundle.load(bundles("lstm").path)
    first = bundle.save(tmp_path / "a").fingerprint
    assert first == bundles("lstm").fingerprint
    assert (
        Bundle(bundle.model, "other name", "other summary", {"x": 1}).save(tmp_path / "b").fingerprint
        == first
    )
    with torch.no_grad():
        next(bundle.model.parameters())[0] += 1e-6
    assert bundle.save(tmp_path / "a").fingerprint != first


def test_a_bundle_says_what_made_it(bundles, tmp_path):
    model = bundles("fixed").load_model()
    info = Bundle(model, "hill", "Bäche über Böden", {"period": ["1993-10-01", "2003-09-30"]}).save(
        tmp_path / "b"
    )
    assert info.provenance["dmg_bmi"] == __version__
    assert info.provenance["torch"] == torch.__version__
    assert info.provenance["period"] == ["1993-10-01", "2003-09-30"]
    assert "created" in info.provenance
    assert "Bäche über Böden" in (tmp_path / "b" / DESCRIPTION).read_text(encoding="utf-8")


def test_saving_over_a_bundle_replaces_it_and_leaves_no_old_weights(bundles, tmp_path):
    Bundle(bundles("lstm").load_model(), "a").save(tmp_path)
    info = Bundle(bundles("fixed").load_model(), "b").save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([DESCRIPTION, info.weights_file])
    assert BundleInfo.read(tmp_path).name == "b"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("locks", [True, False])
def test_of_several_that_save_into_one_folder_the_last_wins_whole(
    bundles, tmp_path, monkeypatch, race, locks
):
    if not locks:
        monkeypatch.setattr("dmg_bmi.io.atomic.flock", None)
    model = bundles("lstm").load_model()
    folder = tmp_path / "shared"

    def save(k):
        with torch.no_grad():
            next(model.parameters()).fill_(k)
        Bundle(model, f"of {k}").save(folder)

    save(0)
    race("processes", save, lambda: BundleInfo.read(folder), rounds=50)
    last = Bundle.load(folder)
    assert last.name == f"of {next(last.model.parameters()).flatten()[0]:.0f}"
    if locks:
        assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("writes", [0, 1])
def test_a_save_that_fails_leaves_the_old_bundle_whole(bundles, tmp_path, monkeypatch, writes):
    old = Bundle(bundles("lstm").load_model(), "old").save(tmp_path)
    replace = os.replace
    done = []

    def crash(source, target):
        if len(done) == writes:
            raise OSError(28, "No space left on device")
        done.append(target)
        replace(source, target)

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(OSError, match="No space"):
        Bundle(bundles("fixed").load_model(), "new").save(tmp_path)
    monkeypatch.undo()
    assert BundleInfo.read(tmp_path).fingerprint == old.fingerprint
    BundleInfo.read(tmp_path).load_model()


def test_a_bundle_is_readable_by_others(bundles):
    folder = bundles("lstm").path
    mask = os.umask(0)
    os.umask(mask)
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o666 & ~mask


# -- what is not whole is refused ---------------------------------------------------


def weights_of(folder):
    return next(folder.glob("weights-*"))


def flip(file, position):
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda f: shutil.rmtree(f), "no bundle found", id="no folder"),
        pytest.param(lambda f: (f / DESCRIPTION).unlink(), "no bundle found", id="no description"),
        pytest.param(lambda f: weights_of(f).unlink(), "cannot be read", id="no weights"),
        pytest.param(
            lambda f: os.truncate(weights_of(f), 100), "truncated or was replaced", id="weights torn"
        ),
        pytest.param(
            lambda f: os.truncate(weights_of(f), 0), "truncated or was replaced", id="weights empty"
        ),
        pytest.param(
            lambda f: flip(weights_of(f), -1), "truncated or was replaced", id="weights flipped at the end"
        ),
        pytest.param(
            lambda f: flip(weights_of(f), 9), "truncated or was replaced", id="weights flipped in the header"
        ),
        pytest.param(
            lambda f: os.truncate(f / DESCRIPTION, 500), "truncated|not valid YAML", id="description torn"
        ),
        pytest.param(lambda f: os.truncate(f / DESCRIPTION, 0), "must hold keys", id="description empty"),
        pytest.param(
            lambda f: rewrite(f, lambda c: c["model"].update(step=3600.0), seal=False),
            "edited by hand",
            id="step edited",
        ),
        pytest.param(
            lambda f: rewrite(f, lambda c: c["variables"][0].update(upper=9e9), seal=False),
            "edited by hand",
            id="limit edited",
        ),
        pytest.param(
            lambda f: rewrite(f, lambda c: c["provenance"].update(NSE=0.99), seal=False),
            "edited by hand",
            id="score edited",
        ),
        pytest.param(
            lambda f: rewrite(f, lambda c: c.pop("checksum"), seal=False), "edited by hand", id="no checksum"
        ),
        pytest.param(
            lambda f: (f / DESCRIPTION).write_text("format: 1\n2: x\n"), "edited", id="keys unsortable"
        ),
        pytest.param(
            lambda f: (f / DESCRIPTION).write_text("format: 1\ncreated: 2000-01-01\nchecksum: 5\n"),
            "edited",
            id="a date",
        ),
        pytest.param(
            lambda f: (f / DESCRIPTION).write_text("format: one\n"), "is not a bundle", id="no format"
        ),
        pytest.param(lambda f: (f / DESCRIPTION).write_text("name: b\n"), "is not a bundle", id="any YAML"),
        pytest.param(lambda f: (f / DESCRIPTION).write_bytes(b"\x80\x02}."), "UTF-8|YAML", id="a pickle"),
    ],
)
def test_a_damaged_bundle_is_refused_and_named(copied, configure, damage, reason):
    config = configure(bundle=str(copied))
    damage(copied)
    with pytest.raises(BundleError, match=reason) as caught:
        BundleInfo.read(copied).load_model()
    assert str(copied) in str(caught.value)
    with pytest.raises(BundleError):
        DeltaModelBmi().initialize(str(config))


def test_a_bundle_of_a_newer_format_says_that_an_upgrade_helps(copied):
    rewrite(copied, lambda c: c.update(format=99, surprise=[1, 2]))
    with pytest.raises(BundleError, match=r"has format 99; this dmg_bmi .* reads up to 1: upgrade"):
        BundleInfo.read(copied)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(more=1), "missing or unknown keys: more"),
        (lambda c: c.pop("summary"), "missing or unknown keys: summary"),
        (lambda c: c["weights"].pop("sha256"), "not a valid bundle description"),
        (lambda c: c.update(weights="w.safetensors"), "not a valid bundle description"),
        (lambda c: c["variables"][0].update(colour="red"), "not a valid bundle description"),
        (lambda c: c.update(variables=5), "not a valid bundle description"),
        (lambda c: c["model"].update(colour="red"), "do not fit"),
        (lambda c: c["model"].update(nn={"fast": {"name": "os.system"}}), "do not fit"),
        (lambda c: c["model"]["nn"]["fast"].update(hidden_size=9), "do not fit"),
        (lambda c: c["model"]["phy_model"]["phy"].update(name="subprocess:run"), "no process model named"),
        (lambda c: c["model"]["phy_model"]["phy"].update(nmul=3), "do not fit"),
        (lambda c: c["model"]["roles"][0].update(inputs="P"), "do not fit"),
        (lambda c: c["model"]["nn"]["fast"].update(dropout=float("nan")), "dropout must be a probability"),
        (lambda c: c.update(model=None), "not a valid bundle description"),
        (lambda c: c["model"].pop("step"), "not a valid bundle description: 'step'"),
        (lambda c: c["model"].update(step="a day"), "not a valid bundle description"),
        (lambda c: c["model"].update(step=float("nan")), "a number of seconds, not nan"),
        (lambda c: c["model"]["roles"][0].update(inputs=["P", "T", "snow"]), "requires the input 'snow'"),
        (
            lambda c: c.update(variables=[v for v in c["variables"] if v["symbol"] != "P"]),
            "requires the input 'P', which is not in its table",
        ),
        (
            lambda c: c.update(variables=[v for v in c["variables"] if v["symbol"] != "slope"]),
            "requires the attribute 'slope', which is not in its table",
        ),
        (lambda c: [v.pop("of", None) for v in c["variables"]], "no output 'Q_flow' of size 1"),
    ],
)
def test_a_sealed_description_must_still_make_sense(copied, change, reason):
    rewrite(copied, change)
    with pytest.raises(BundleError, match=reason):
        BundleInfo.read(copied).load_model()


def test_weights_that_are_too_large_are_not_read(bundles, tmp_path, monkeypatch):
    folder = shutil.copytree(bundles("fixed").path, tmp_path / "bundle")
    info = BundleInfo.read(folder)
    size = (folder / info.weights_file).stat().st_size
    monkeypatch.setattr("dmg_bmi.model.bundle_files.MAX_WEIGHTS", size - 1)
    with pytest.raises(BundleError, match=r"\.safetensors: is too large"):
        info.load_model()
    monkeypatch.setattr("dmg_bmi.model.bundle_files.MAX_WEIGHTS", size)
    info.load_model()


@pytest.mark.parametrize("file", ["../weights.safetensors", "/etc/passwd", "a/b", "", ".", "..", "a\0b", 5])
def test_weights_lie_in_the_folder_of_the_bundle(copied, file):
    weights_of(copied).replace(copied.parent / "weights.safetensors")
    rewrite(copied, lambda c: c["weights"].update(file=file))
    with pytest.raises(BundleError):
        BundleInfo.read(copied).load_model()


def test_a_description_cannot_grow_without_bound(copied):
    bomb = "a: &a [x, x, x]\n" + "".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(20)
    )
    (copied / DESCRIPTION).write_text(bomb)
    with pytest.raises(BundleError, match="aliases"):
        BundleInfo.read(copied)


@pytest.mark.parametrize(
    "attack",
    [
        "!!python/object/apply:os.system ['touch PWNED']",
        "!!python/object/new:subprocess.Popen [['touch', 'PWNED']]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [1, 2]",
    ],
)
def test_a_description_runs_no_code(copied, tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    text = (copied / DESCRIPTION).read_text(encoding="utf-8")
    (copied / DESCRIPTION).write_text(text.replace("summary: ", f"summary: {attack} #"), encoding="utf-8")
    with pytest.raises(BundleError, match=r"the tag .* is not allowed"):
        BundleInfo.read(copied)
    assert not list(tmp_path.rglob("PWNED"))


def test_weights_in_a_pickle_are_refused(copied):
    file = weights_of(copied)
    torch.save({"x": torch.zeros(3)}, file)
    digest = sha256(file.read_bytes())
    rewrite(copied, lambda c: c["weights"].update(sha256=digest))
    with pytest.raises(BundleError, match="do not fit"):
        BundleInfo.read(copied).load_model()


def test_bundle_descriptions_are_plain_data_under_one_checksum(bundles):
    content = yaml.safe_load((bundles().path / DESCRIPTION).read_text(encoding="utf-8"))
    checksum = content.pop("checksum")
    assert json.loads(json.dumps(content)) == content
    assert checksum == sha256(canonical(content))


def test_a_shipped_bundle_is_found_by_its_name(bundles, monkeypatch, tmp_path):
    shutil.copytree(bundles("fixed").path, tmp_path / "shipped" / "hill")
    monkeypatch.setattr("dmg_bmi.model.bundle_files.SHIPPED", tmp_path / "shipped")
    assert BundleInfo.read("hill").name == "fixed"
    with pytest.raises(BundleError, match="shipped: hill"):
        BundleInfo.read("valley")


# -- numbers that are none ----------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_finite_numbers_are_not_saved_and_the_tensor_is_named(bundles, tmp_path, value):
    bundle = Bundle.load(bundles("lstm_mlp").path)
    name, weights = next(iter(bundle.model.state_dict().items()))
    weights.view(-1)[0] = value
    with pytest.raises(BundleError, match=re.escape(f"tensor {name!r} has 1 of {weights.numel()} values")):
        bundle.save(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


def test_weights_that_are_no_finite_numbers_are_not_loaded_and_the_tensor_is_named(copied):
    file = next(copied.glob("*.safetensors"))
    weights = safetensors.torch.load_file(file)
    name = sorted(weights)[-1]
    weights[name].view(-1)[0] = float("nan")
    file.write_bytes(safetensors.torch.save(weights))
    rewrite(copied, lambda content: content["weights"].update(sha256=sha256(file.read_bytes())))
    with pytest.raises(BundleError, match=re.escape(f"tensor {name!r} has 1 of")):
        Bundle.load(copied)


@pytest.mark.parametrize("change", [{"mean": float("nan")}, {"std": float("inf")}, {"transform": "log"}])
def test_statistics_that_cannot_normalise_are_not_loaded_and_the_input_is_named(copied, change):
    def spoil(content):
        content["model"]["statistics"]["P"] = {"mean": 0.0, "std": 1.0} | change

    rewrite(copied, spoil)
    with pytest.raises(BundleError, match=rf"statistics\.P: {next(iter(change))} is"):
        Bundle.load(copied)


def test_large_weights_whose_sum_overflows_are_numbers_all_the_same(bundles, tmp_path):
    bundle = Bundle.load(bundles("lstm", DAY, torch.float32).path)
    weights = next(w for w in bundle.model.state_dict().values() if w.numel() > 2)
    weights.view(-1)[:2] = 3e38
    bundle.save(tmp_path / "large")
    assert (tmp_path / "large" / DESCRIPTION).exists()


def test_a_bundle_in_memory_is_the_saved_one_without_a_file(bundles, weather, attributes, tmp_path):
    bundle = Bundle.load(bundles("lstm_mlp").path)
    info, saved = bundle.in_memory(), bundle.save(tmp_path / "bundle")
    assert info.fingerprint == saved.fingerprint
    assert info.variables == saved.variables
    _, model = info.load()
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    forcing = {name: torch.from_numpy(values) for name, values in weather(20, 2).items()}
    expected, _ = saved.load_model()(forcing, attributes(2))
    torch.testing.assert_close(model(forcing, attributes(2))[0], expected, rtol=0, atol=0)
    with torch.no_grad():
        next(bundle.model.parameters()).fill_(float("nan"))
    torch.testing.assert_close(info.load_model()(forcing, attributes(2))[0], expected, rtol=0, atol=0)
    with pytest.raises(BundleError, match="NaN or infinite"):
        bundle.in_memory()


def test_a_bundle_is_loaded_to_evaluate_unless_it_is_to_be_trained():
    held, free = Bundle.load("demo_daily").model, Bundle.load("demo_daily", trainable=True).model
    assert not held.training
    assert not any(weight.requires_grad for weight in held.parameters())
    assert free.training
    assert all(weight.requires_grad for weight in free.parameters())


def test_the_folder_of_a_training_names_its_bundle(tmp_path, bundles):
    Bundle.load(bundles("lstm").path).save(tmp_path / "run" / "bundle")
    assert BundleInfo.read(tmp_path / "run").path == tmp_path / "run" / "bundle"
