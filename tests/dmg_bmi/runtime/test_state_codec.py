"""A state as bytes: what comes back is what went in, or an error."""

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.errors import StateError
from dmg_bmi.runtime import state_codec

HEADER = {"ids": ["a", "ö"], "position": 3, "valid_time": None, "share": 24.0}
TENSORS = {
    "phy.SM": torch.arange(6, dtype=torch.float64).reshape(3, 2),
    "nn.h": torch.linspace(-1, 1, 12, dtype=torch.float32).reshape(3, 4).T.contiguous().T,
    "nn.seen": torch.tensor([1, 2, 3]),
    "empty": torch.zeros(3, 0),
}
CONTENT = state_codec.encode(HEADER, TENSORS)


def test_what_comes_back_is_what_went_in():
    header, tensors = state_codec.decode(CONTENT)
    assert header == HEADER
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_bits_survive():
    odd = torch.tensor([float("nan"), -0.0, 5e-324, float("inf")], dtype=torch.float64)
    _, back = state_codec.decode(state_codec.encode({}, {"x": odd}))
    assert torch.equal(back["x"].view(torch.int64), odd.view(torch.int64))


def test_equal_states_have_equal_bytes_and_share_no_memory():
    assert state_codec.encode(dict(reversed(HEADER.items())), TENSORS) == CONTENT
    part = torch.zeros(4)
    assert state_codec.decode(state_codec.encode({}, {"a": part[:2], "b": part[:2]}))[1].keys() == {"a", "b"}


@given(st.integers(0, len(CONTENT) - 1), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(position, bit):
    damaged = bytearray(CONTENT)
    damaged[position] ^= 1 << bit
    with pytest.raises(StateError):
        state_codec.decode(bytes(damaged))


@given(st.integers(0, len(CONTENT) - 1))
def test_any_truncation_is_noticed(length):
    with pytest.raises(StateError):
        state_codec.decode(CONTENT[:length])


@given(st.binary(max_size=300))
def test_any_other_bytes_are_refused(content):
    with pytest.raises(StateError):
        state_codec.decode(content)


def sealed(payload, version=state_codec.VERSION):
    return state_codec.MAGIC + version.to_bytes(2, "little") + state_codec.sha256(payload).digest() + payload


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff" * 8,
        b"\0" * 8 + b"{}",
        safetensors.torch.save({"x": torch.zeros(1)}),
        safetensors.torch.save({"x": torch.zeros(1)}, {"header": "not json"}),
        safetensors.torch.save({"x": torch.zeros(1)}, {"header": "5"}),
        safetensors.torch.save({"x": torch.zeros(1)}, {"header": '["a", "bc", 1]'}),
        safetensors.torch.save({"x": torch.zeros(1)}, {"head": "{}"}),
        b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}.",
    ],
)
def test_a_good_checksum_does_not_make_a_state(payload):
    with pytest.raises(StateError, match="here: cannot be read"):
        state_codec.decode(sealed(payload), "here")


def test_a_newer_version_is_named():
    with pytest.raises(StateError, match=r"has state version 2; this dmg_bmi reads 1"):
        state_codec.decode(sealed(CONTENT[48:], version=2))


def test_a_file_that_is_missing_or_too_large_is_named(tmp_path, monkeypatch):
    with pytest.raises(StateError, match=r"none: cannot be read \(No such file"):
        state_codec.read(tmp_path / "none")
    monkeypatch.setattr(state_codec, "MAX_SIZE", 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(StateError, match="is too large"):
        state_codec.read(tmp_path / "large")
    (tmp_path / "large").write_bytes(b"x" * 10)
    assert state_codec.read(tmp_path / "large") == b"x" * 10


def test_sixteen_gibibytes_are_too_many(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(16 * 1024**3 + 1)
    with pytest.raises(StateError, match="sparse: is too large, 17179869185 bytes"):
        state_codec.read(tmp_path / "sparse")


def test_a_file_holds_what_was_written_or_the_reason_is_said(tmp_path):
    state_codec.write(tmp_path / "state", CONTENT)
    assert state_codec.read(tmp_path / "state") == CONTENT
    with pytest.raises(StateError, match=r"no/state: the state cannot be written \(No such file"):
        state_codec.write(tmp_path / "no" / "state", CONTENT)


def test_a_changed_header_is_not_taken_for_what_was_saved():
    """The checksum covers names and numbers alike."""
    other = state_codec.encode({**HEADER, "position": 4}, TENSORS)
    with pytest.raises(StateError, match="does not match its checksum"):
        state_codec.decode(CONTENT[:48] + other[48:])
