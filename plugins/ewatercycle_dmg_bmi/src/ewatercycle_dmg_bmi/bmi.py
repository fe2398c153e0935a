"""The component with times that have a date, as eWaterCycle reads them."""

from __future__ import annotations

from datetime import UTC, datetime

from dmg_bmi import DeltaModelBmi
from dmg_bmi.errors import ConfigError
from dmg_bmi.runtime.config import RunConfig

UNITS = "seconds since 1970-01-01 00:00:00"


class DatedBmi(DeltaModelBmi):
    """A component of dmg_bmi whose times are seconds since 1970, UTC; it needs a ``start_time``."""

    _begin = 0.0

    def _after_initialize(self, config_file: str) -> None:
        start = RunConfig.read(config_file).start_time
        if start is None:
            raise ConfigError(f"{config_file}: start_time is missing; eWaterCycle asks for dates")
        start = start if isinstance(start, datetime) else datetime.combine(start, datetime.min.time())
        self._begin = (start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp()

    def get_time_units(self) -> str:
        """Return seconds since a date."""
        super().get_time_units()  # raises before initialize
        return UNITS

    def get_start_time(self) -> float:
        """Return when the run begins."""
        return self._begin + super().get_start_time()

    def get_current_time(self) -> float:
        """Return the time that has been reached."""
        return self._begin + super().get_current_time()

    def get_end_time(self) -> float:
        """Return when the run ends."""
        return self._begin + super().get_end_time()

    def update_until(self, time: float) -> None:
        """Advance to `time`."""
        super().update_until(time - self._begin)
