"""Components stepped together: exchanges between them, one clock, one state.

For a few components and a plain schedule; frameworks do the large cases.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from ..arrays import FloatArray
from ..errors import ConfigError, DmgBmiError, StateError, repeated
from ..io.atomic import make_folder
from ..runtime import state_codec
from ..runtime.config import utc
from ..runtime.restart import stamp, steps_between
from .component import CoupledComponent
from .config import CouplingConfig, ExchangeConfig
from .exchange import Exchange


class Coupling:
    """Components of one run.

    The step of the clock is the longest of the components'. In it each component in turn receives
    what exchanges have for it and updates until the end of the step.

    Parameters
    ----------
    config : CouplingConfig

    Attributes
    ----------
    components : dict of name to CoupledComponent
    steps : int
        Steps of the clock in the run.
    """

    def __init__(self, config: CouplingConfig) -> None:
        self.config = config
        self.components: dict[str, CoupledComponent] = {}
        self.done = 0
        try:
            for name, part in config.components.items():
                self.components[name] = CoupledComponent(name, part)
            self.step = max(component.step for component in self.components.values())
            self._set_substeps()
            self.steps = round(config.seconds / self.step)
            if abs(self.steps * self.step - config.seconds) > 1e-6 * self.step:
                raise ConfigError(
                    f"end_time: {config.seconds:g} s is not a whole number of steps of {self.step:g} s"
                )
            self.exchanges = [self._exchange(part) for part in config.exchanges]
            self._read_forcing()
            self._save_every = steps_between(config.restart.every, self.step)
            if config.restart.read is not None:
                self._load(config.restart.read)
            for component in self.components.values():
                component.check_clock(self.now)
            if config.restart.write is not None:
                self._state()  # an error of saving comes now, not at the end
        except BaseException:
            self._abandon()
            raise

    def _set_substeps(self) -> None:
        for name, component in self.components.items():
            component.substeps = round(self.step / component.step)
            if abs(component.substeps * component.step - self.step) > 1e-6 * component.step:
                raise ConfigError(
                    f"{name}: its step of {component.step:g} s does not divide the longest, {self.step:g} s"
                )

    def _read_forcing(self) -> None:
        """Let each component read forcing for the inputs that no exchange feeds."""
        fed = [(exchange.target.name, exchange.variable) for exchange in self.exchanges]
        if twice := repeated(fed):
            raise ConfigError(f"exchanges: {'.'.join(twice[0])} is the target of two of them")
        for name, component in self.components.items():
            component.read_forcing(
                [v for n, v in fed if n == name], self.config.start_time, self.steps * component.substeps
            )

    def _exchange(self, config: ExchangeConfig) -> Exchange:
        source, source_variable = self._end("source", config.source)
        target, target_variable = self._end("target", config.target)
        return Exchange(config, source, source_variable, target, target_variable)

    def _end(self, key: str, text: str) -> tuple[CoupledComponent, str]:
        name, _, variable = text.partition(".")
        if name not in self.components or not variable:
            raise ConfigError(
                f"exchanges: {key} {text!r} must be component.variable; components are "
                f"{', '.join(self.components)}"
            )
        return self.components[name], variable

    @property
    def now(self) -> datetime:
        """Return date and time of the clock, UTC."""
        return utc(self.config.start_time) + timedelta(seconds=self.done * self.step)

    def advance(self) -> dict[str, list[dict[str, FloatArray]]]:
        """Advance the clock by one step; return the outputs of each component after each of its updates."""
        records: dict[str, list[dict[str, FloatArray]]] = {}
        for name, component in self.components.items():
            for exchange in self.exchanges:
                if exchange.target is component:
                    exchange.deliver()
            leaving = [exchange for exchange in self.exchanges if exchange.source is component]
            records[name] = []
            for _ in range(component.substeps):
                component.update()
                for exchange in leaving:
                    exchange.collect()
                records[name].append({variable: component.read(variable) for variable in component.written})
        self.done += 1
        if self._save_every and self.done % self._save_every == 0:
            self.save()
        return records

    def save(self) -> None:
        """Write the states of all components into the file that the configuration names, if any."""
        path = self.config.restart.write
        if path is not None:
            path = Path(str(path).replace("{time}", stamp(self.now)))
            make_folder(path.parent)
            state_codec.write(path, self._state())

    def _header(self) -> dict[str, object]:
        return {
            "time": self.now.isoformat(),
            "components": {name: component.config.bmi for name, component in self.components.items()},
            "exchanges": [[e.source, e.target] for e in self.config.exchanges],
        }

    def _state(self) -> bytes:
        states = {f"component.{name}": component.save() for name, component in self.components.items()}
        values = {
            f"exchange.{k}": torch.from_numpy(exchange.value) for k, exchange in enumerate(self.exchanges)
        }
        return state_codec.encode(self._header(), states | values)

    def _load(self, path: Path) -> None:
        path = Path(str(path).replace("{time}", stamp(self.now)))
        header, tensors = state_codec.decode(state_codec.read(path), str(path))
        for key, value in self._header().items():
            if header.get(key) != value:
                raise StateError(f"{path}: its {key} is {header.get(key)}, that of the run is {value}")
        for name, component in self.components.items():
            component.load(tensors[f"component.{name}"])
        for k, exchange in enumerate(self.exchanges):
            exchange.restore(tensors[f"exchange.{k}"].numpy())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finalize()
        else:
            self._abandon()

    def _abandon(self) -> None:
        for component in self.components.values():
            component.abandon()

    def finalize(self) -> None:
        """Finalize all components, even where some of them fail, and raise the first error."""
        failed: list[DmgBmiError] = []
        for component in self.components.values():
            try:
                component.finalize()
            except DmgBmiError as problem:
                failed.append(problem)
        if failed:
            raise failed[0]
