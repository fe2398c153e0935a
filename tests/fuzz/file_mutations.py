"""Files that are torn, flipped, cut, swapped or made up: refused, or harmless.

Each case is one seed: ``attack(kind, seed, folder)`` says what became of it, and raises where something
other than a documented error happened.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from bmi_sequences import VALUES
from trees import forged

from dmg_bmi import RoutingBmi, bmi_configs
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import BundleError, DmgBmiError, StateError
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.bundle_files import DESCRIPTION, SHIPPED, checksum_of
from dmg_bmi.runtime import state_codec

SECONDS = 20
TOKENS = (
    *("-1", "0", "1e309", "-.inf", ".nan", "1e-320", "99999999999999999999", "0.1", "null", "true", "~"),
    *(
        "[]",
        "{}",
        "''",
        "../../x",
        "/dev/null",
        "[1, [2]]",
        "2000-13-45",
        "!!python/name:os.system",
        "&a [*a]",
    ),
    *("!!binary AAAA", "\x00", "\N{SNOWMAN}", "<<: *a", "? x", "|", "'", "demo_hourly", "cuda", "eager"),
)


class Hang(Exception):
    """It took too long."""


@contextmanager
def limit(seconds: int = SECONDS) -> Iterator[None]:
    """Raise `Hang` when the block takes longer."""

    def ring(*_: Any) -> None:
        raise Hang(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# -- mutations ------------------------------------------------------------------------


def flipped(content: bytes, r: random.Random) -> bytes:
    where = r.randrange(len(content))
    return content[:where] + bytes([content[where] ^ 1 << r.randrange(8)]) + content[where + 1 :]


def cut(content: bytes, r: random.Random) -> bytes:
    return content[: r.randrange(len(content))]


def holed(content: bytes, r: random.Random) -> bytes:
    a, b = sorted(r.randrange(len(content)) for _ in range(2))
    return content[:a] + content[b:]


def doubled(content: bytes, r: random.Random) -> bytes:
    a, b = sorted(r.randrange(len(content)) for _ in range(2))
    return content[:b] + content[a:]


def zeroed(content: bytes, r: random.Random) -> bytes:
    a = r.randrange(len(content))
    return content[:a] + bytes(min(r.choice((1, 8, 512)), len(content) - a)) + content[a + 512 :]


def noisy(content: bytes, r: random.Random) -> bytes:
    a = r.randrange(len(content))
    return content[:a] + r.randbytes(r.choice((1, 4, 64))) + content[a:]


def retold(content: bytes, r: random.Random) -> bytes:
    """Another value in one place of a YAML text."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    k = r.randrange(len(lines))
    key, colon, _ = lines[k].partition(":")
    lines[k] = f"{key}: {r.choice(TOKENS)}" if colon and r.random() < 0.8 else r.choice(TOKENS)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def reordered(content: bytes, r: random.Random) -> bytes:
    lines = content.split(b"\n")
    a, b = r.randrange(len(lines)), r.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def emptied(content: bytes, r: random.Random) -> bytes:
    return b""


BINARY = (flipped, flipped, cut, holed, doubled, zeroed, noisy, emptied)
TEXT = (*BINARY, retold, retold, retold, retold, reordered)


def mutated(content: bytes, ways: tuple[Callable[..., bytes], ...], r: random.Random) -> bytes:
    """Another content than it was."""
    while True:
        new = content
        for _ in range(r.choice((1, 1, 1, 2, 3))):
            new = r.choice(ways)(new, r) if new else new
        if new != content:
            return new


# -- what is attacked -------------------------------------------------------------------


def configuration(bundle: object = "demo_daily", **more: object) -> bytes:
    run = {
        "bundle": bundle,
        "catchments": {"ids": ["cat-1"], "area": 320.0, "attributes": VALUES},
        "time_step": 21600.0,
        "start_time": "2000-10-01 06:00",
        "end_time": "2000-10-05",
        "day_start_hour": 6.0,
        "missing_forcing": "error",
        "engine": "eager",
        "device": "cpu",
        "threads": 1,
        **more,
    }
    return yaml.safe_dump(run, sort_keys=False).encode()


def drive(bmi: DeltaModelBmi, steps: int = 6) -> list[float]:
    """Steps on legal weather; the runoff."""
    series = []
    for k in range(steps):
        for symbol, value in (("P", 10.0 + k), ("T", 3.0 + k), ("PET", 1.0)):
            if symbol in bmi.component.about.units and bmi.get_input_var_names():
                bmi.set_value(symbol, np.full(bmi.component.size, value))
        bmi.update()
        series.append(float(bmi.get_value_ptr("Q")[0]))
    return series


def attack_configuration(r: random.Random, folder: Path) -> str:
    """A run configuration: refused by a documented error, or it runs."""
    path = folder / "run.yaml"
    path.write_bytes(mutated(configuration(), TEXT, r))
    bmi = DeltaModelBmi()
    try:
        bmi.initialize(str(path))
        drive(bmi)
    except DmgBmiError:
        return "refused"
    finally:
        torch.set_num_threads(1)
        bmi.finalize()
    return "harmless"


@cache
def untouched() -> tuple[float, ...]:
    """The runoff of the bundle as it is shipped."""
    return tuple(_runoff(SHIPPED / "demo_daily"))


def _runoff(bundle: Path) -> list[float]:
    path = bundle.parent / "run.yaml" if bundle.parent != SHIPPED else None
    content = configuration(str(bundle))
    if path is None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.yaml"
            return _runs(path, content)
    return _runs(path, content)


def _runs(path: Path, content: bytes) -> list[float]:
    path.write_bytes(content)
    bmi = DeltaModelBmi()
    try:
        bmi.initialize(str(path))
        return drive(bmi)
    finally:
        bmi.finalize()


def attack_bundle(r: random.Random, folder: Path) -> str:
    """A bundle: refused, or it gives the same answers to the last bit."""
    bundle = folder / "bundle"
    shutil.copytree(SHIPPED / "demo_daily", bundle)
    (weights,) = bundle.glob("*.safetensors")
    way = r.randrange(6)
    if way == 0:
        (other,) = (SHIPPED / "demo_hourly").glob("*.safetensors")
        shutil.copy(other, weights)
    elif way == 1:
        r.choice((weights, bundle / DESCRIPTION)).unlink()
    elif way in (2, 3):
        weights.write_bytes(mutated(weights.read_bytes(), BINARY, r))
    else:
        description = bundle / DESCRIPTION
        description.write_bytes(mutated(description.read_bytes(), TEXT, r))
    try:
        runoff = _runoff(bundle)
    except BundleError:
        return "refused"
    except DmgBmiError as error:
        # without a description the name means a bundle that is not shipped
        if "bundle" not in str(error):
            raise
        return "refused"
    assert tuple(runoff) == untouched(), "a changed bundle gives other answers"
    return "harmless"


def attack_forged_bundle(r: random.Random, folder: Path) -> str:
    """A description that was changed by somebody who can compute checksums: refused, or it runs."""
    forge(SHIPPED / "demo_daily", folder / "bundle", r)
    try:
        _runoff(folder / "bundle")
    except DmgBmiError:
        return "refused"
    return "harmless"


def attack_forged_river(r: random.Random, folder: Path) -> str:
    """The same of a bundle that routes through a network."""
    forge(SHIPPED / r.choice(("muskingum_cunge", "muskingum_cunge_nwm")), folder / "bundle", r)
    path = folder / "run.yaml"
    fabric = Path(bmi_configs.__file__).with_name("river.gpkg")
    path.write_text(yaml.safe_dump({"bundle": "bundle", "catchments": {"hydrofabric": str(fabric)}}))
    bmi = RoutingBmi()
    try:
        bmi.initialize(str(path))
        for name in bmi.get_input_var_names():
            bmi.set_value(name, np.full(bmi.get_var_nbytes(name) // 8, 2.0))
        for _ in range(3):
            bmi.update()
    except DmgBmiError:
        return "refused"
    finally:
        bmi.finalize()
    return "harmless"


def forge(shipped: Path, bundle: Path, r: random.Random) -> None:
    """A copy of a bundle with one thing in its description changed, sealed anew."""
    shutil.copytree(shipped, bundle)
    path = bundle / DESCRIPTION
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content.pop("checksum")
    # half of them in what the model is made of
    where = "model" if r.random() < 0.5 else r.choice([*content])
    content[where] = forged(content[where], r)
    content["checksum"] = checksum_of(content)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _half_way(folder: Path, **more: object) -> DeltaModelBmi:
    path = folder / "run.yaml"
    if not path.exists():
        path.write_bytes(configuration(**more))
    bmi = DeltaModelBmi()
    bmi.initialize(str(path))
    drive(bmi, 7)
    return bmi


def attack_state(r: random.Random, folder: Path) -> str:
    """A state as bytes: refused, and the component goes on as if nothing had been."""
    bmi, twin = _half_way(folder), _half_way(folder)
    content = bmi.component.save()
    if r.random() < 0.15:
        foreign = DeltaModelBmi()
        path = folder / "foreign.yaml"
        more = r.choice(
            ({"bundle": "demo_hourly", "time_step": 3600.0}, {"day_start_hour": 0.0}, {"time_step": 43200.0})
        )
        path.write_bytes(configuration(**{"bundle": "demo_daily", **more}))
        foreign.initialize(str(path))
        changed = foreign.component.save()
    else:
        changed = mutated(content, BINARY, r)
    try:
        bmi.component.load(changed)
    except StateError:
        outcome = "refused"
    else:
        raise AssertionError("a changed state is taken")
    assert drive(bmi, 5) == drive(twin, 5), "a refused state leaves something behind"
    bmi.finalize()
    twin.finalize()
    return outcome


def attack_forged_state(r: random.Random, folder: Path) -> str:
    """A state that was changed by somebody who can compute checksums: refused, or it runs on."""
    bmi, twin = _half_way(folder), _half_way(folder)
    header, tensors = state_codec.decode(bmi.component.save())
    way = r.randrange(4)
    if way == 0:
        header = forged(header, r)
    else:
        name = r.choice(sorted(tensors))
        if way == 1:
            tensors[name] = tensors[name].flatten()[: r.randrange(3)]
        elif way == 2:
            tensors[name] = tensors[name].to(r.choice((torch.float32, torch.int64, torch.float64)))
        elif tensors[name].is_floating_point() and tensors[name].numel():
            flat = tensors[name].clone().flatten()
            flat[r.randrange(flat.numel())] = r.choice((np.nan, np.inf, -1e30, -5.0, 1e-30, 5.0, 3.0))
            tensors[name] = flat.reshape(tensors[name].shape)
    try:
        bmi.component.load(state_codec.encode(header, tensors))
    except StateError:
        assert drive(bmi, 5) == drive(twin, 5), "a refused state leaves something behind"
        return "refused"
    finally:
        twin.finalize()
    with suppress(DmgBmiError):
        assert np.isfinite(drive(bmi, 8)).all(), "a forged state spoils the outputs"
    bmi.finalize()
    return "harmless"


KINDS: dict[str, Callable[[random.Random, Path], str]] = {
    name.removeprefix("attack_"): function
    for name, function in globals().items()
    if name.startswith("attack_")
}


def attack(kind: str, seed: int, folder: Path) -> str:
    """What became of one case."""
    BundleInfo._read.cache_clear()
    folder.mkdir()
    try:
        with limit():
            return KINDS[kind](random.Random(f"{kind}-{seed}"), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
