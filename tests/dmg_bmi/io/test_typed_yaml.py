"""Typed configuration: what fits becomes a dataclass, what does not is named."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from dmg_bmi.errors import ConfigError
from dmg_bmi.io.typed_yaml import from_mapping, read_yaml


@dataclass(frozen=True)
class Inner:
    rate: float
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.rate < 0:
            raise ConfigError("rate must not be negative")


@dataclass(frozen=True)
class Source(ABC):
    TAG: ClassVar[str] = "kind"
    kind: str

    @abstractmethod
    def open(self): ...

    @classmethod
    def variants(cls):
        return {"file": lambda: File, "made": lambda: Made}


@dataclass(frozen=True)
class File(Source):
    path: Path

    def open(self): ...


@dataclass(frozen=True)
class Made(Source):
    count: int = 3

    def open(self): ...


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    source: Source = Made("made")
    mode: Literal["fast", "slow"] = "fast"
    on: bool = False
    count: int | None = None
    start: datetime = datetime(2000, 1, 1)
    pair: tuple[int, float] = (1, 2.0)
    weights: dict[str, float] = field(default_factory=dict)
    anything: Any = None
    end: datetime | float | None = None
    several: list[Inner] = field(default_factory=list)


GOOD = {"name": "a", "inner": {"rate": 1}}


def test_plain_data_becomes_typed():
    config = from_mapping(
        Outer,
        GOOD
        | {
            "source": {"kind": "file", "path": "x/y"},
            "start": "2001-02-03",
            "pair": [4, 5],
            "weights": {"q": 2},
            "inner": {"rate": "1e-3", "names": ["p", "q"]},
            "end": 12,
            "several": [{"rate": 2.0}],
        },
        "c.yaml",
    )
    assert config.source == File("file", Path("x/y"))
    assert config.start == datetime(2001, 2, 3)
    assert config.pair == (4, 5.0)
    assert config.weights == {"q": 2.0}
    assert isinstance(config.weights["q"], float)
    assert config.inner == Inner(0.001, ("p", "q"))
    assert config.end == 12.0
    assert config.several == [Inner(2.0)]


def test_what_is_left_out_is_the_default():
    config = from_mapping(Outer, GOOD, "c.yaml")
    assert config == Outer("a", Inner(1.0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nmae": 1}, ["unknown key 'nmae'", "did you mean 'name'?", "known keys are name, inner"]),
        ({"zzz": 1}, ["unknown key 'zzz'", "known keys are"]),
        ({"inner": {"rate": 1, "nmes": []}}, ["unknown key 'inner.nmes'", "did you mean 'names'?"]),
        ({"inner": {}}, ["missing key 'inner.rate'"]),
        ({"inner": 3}, ["'inner' must be a mapping", "not 3"]),
        ({"inner": None}, ["'inner' must be a mapping", "not empty"]),
        ({"inner": {"rate": "quick"}}, ["'inner.rate' must be a number", "not 'quick'"]),
        ({"inner": {"rate": True}}, ["'inner.rate' must be a number", "not True"]),
        ({"inner": {"rate": -1}}, ["inner: rate must not be negative"]),
        (
            {"inner": {"rate": 1, "names": "p"}},
            ["'inner.names' must be a list", "write [p] for a list of one"],
        ),
        ({"inner": {"rate": 1, "names": [1]}}, ["'inner.names[0]' must be text", "quotes"]),
        ({"several": [{"rate": 1}, {"rate": "x"}]}, ["'several[1].rate' must be a number"]),
        ({"mode": "fsat"}, ["'mode' must be one of fast, slow", "did you mean 'fast'?"]),
        ({"on": "yes please"}, ["'on' must be true or false"]),
        ({"count": 1.5}, ["'count' must be a whole number", "not 1.5"]),
        ({"count": True}, ["'count' must be a whole number"]),
        ({"start": "soon"}, ["'start' must be a date such as 2000-10-01", "not 'soon'"]),
        ({"end": "soon"}, ["'end' must be a date such as 2000-10-01 or a number"]),
        ({"pair": [1]}, ["'pair' must be a list of 2 values"]),
        ({"weights": [1]}, ["'weights' must be a mapping"]),
        ({"weights": {3: 1.0}}, ["'weights.3' must be named by text", "write it in quotes"]),
        ({"weights": {True: 1.0}}, ["'weights.True' must be named by text"]),
        ({"weights": {"q": "heavy"}}, ["'weights.q' must be a number"]),
        ({"name": 1000}, ["'name' must be text", "put it in quotes"]),
        ({"source": {"path": "x"}}, ["missing key 'source.kind'", "choose one of file, made"]),
        ({"source": {"kind": "fiel"}}, ["'source.kind' must be one of file, made", "did you mean 'file'?"]),
        ({"source": {"kind": "file"}}, ["missing key 'source.path'"]),
        ({"source": {"kind": "made", "path": "x"}}, ["unknown key 'source.path'", "kind, count"]),
        ({"source": "file"}, ["'source' must be a mapping"]),
    ],
)
def test_what_does_not_fit_is_named_with_file_key_and_remedy(change, said):
    with pytest.raises(ConfigError) as error:
        from_mapping(Outer, GOOD | change, "c.yaml")
    assert str(error.value).startswith("c.yaml")
    for part in said:
        assert part in str(error.value)


def test_no_mapping_at_all_is_said():
    with pytest.raises(ConfigError, match=r"c\.yaml must be a mapping"):
        from_mapping(Outer, [1, 2], "c.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2", "not valid YAML"),
        ("a: 1\na: 2\n", "twice"),
        ("- 1\n", "must hold keys and values"),
        ("", "must hold keys and values"),
        ("a: !!python/object/apply:os.system [ls]\n", "the tag .* is not allowed"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, text, said):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        read_yaml(file)
    assert str(file) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2000-1-2 6:00", datetime(2000, 1, 2, 6)),
        ("2000-01-02T06:00:00Z", datetime(2000, 1, 2, 6, tzinfo=UTC)),
        ("2000-01-02 06:00:00 -6:00", datetime(2000, 1, 2, 12)),
        (" 2000-01-02 ", datetime(2000, 1, 2)),
        ("2000-01-02 24:00", datetime(2000, 1, 3)),
    ],
)
def test_dates_as_text_are_read_as_in_every_other_file(text, expected):
    assert from_mapping(Outer, GOOD | {"start": text}, "c.yaml").start == expected


@pytest.mark.parametrize("text", ["20000102", "2000-W01-1", "2000-01", "2000-02-30", "now", ""])
def test_what_is_no_date_is_refused_by_its_key(text):
    with pytest.raises(ConfigError, match=r"c\.yaml.*'start' must be a date such as 2000-10-01"):
        from_mapping(Outer, GOOD | {"start": text}, "c.yaml")
