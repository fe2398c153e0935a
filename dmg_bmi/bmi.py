"""The Basic Model Interface of a trained DeltaModel: a thin adapter over a component."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from bmipy import Bmi
from numpy.typing import NDArray

from .arrays import FloatArray
from .errors import (
    ConfigError,
    DmgBmiError,
    GridError,
    NotInitializedError,
    StateError,
    ValueShapeError,
    VariableError,
)
from .model.bundle import BundleInfo
from .model.variables import unknown_variable
from .runtime.arguments import AnyArray, as_indices, as_numbers, fill
from .runtime.clock import Clock
from .runtime.component import Component
from .runtime.config import RunConfig
from .runtime.ensemble import EnsembleComponent
from .runtime.introspection import INTROSPECTION, Introspection
from .runtime.metadata import ExtraVariables, Metadata, ReservedVariables
from .runtime.ngen_protocols import NgenProtocols

GRID = 0
NDARRAY, FLOAT, INT = np.ndarray, np.dtype(np.float64), np.dtype(np.int32)


class DeltaModelBmi(Bmi):
    """A trained DeltaModel as a BMI component for one or many catchments.

    Without arguments it knows nothing until `initialize` reads a configuration
    (:class:`dmg_bmi.runtime.config.RunConfig`). Times are in seconds from 0.0. Published are
    forcing and outputs under their standard names, as ``float64``. By name, unpublished,
    one reaches static attributes, states (``phy.SM``, rows first), ``catchment__id`` and
    ``catchment__area``, and every variable by its symbol (``Q``).

    Every getter raises :class:`NotInitializedError` before `initialize`, and
    :class:`VariableError` for a name that does not exist.

    Adapters for other frameworks derive from it and override three methods: :meth:`_extra_variables`,
    :meth:`_after_initialize` and :meth:`_before_update`.
    """

    #: Set by :func:`bundle_component`: its table is readable before `initialize`.
    bundle: ClassVar[BundleInfo | None] = None
    configuration: ClassVar[type[RunConfig]] = RunConfig

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._component: Component | None = None
        self._clock: Clock | None = None
        self._protocols: NgenProtocols | None = None
        self._extra: ExtraVariables | None = None
        self._about = Metadata() if self.bundle is None else Metadata(self.bundle.variables)
        #: Arrays of length one that are set and read at every step, by name; of one catchment only.
        self._set: Mapping[str, FloatArray] = {}
        self._read: Mapping[str, FloatArray] = {}

    # -- control ------------------------------------------------------------------

    def initialize(self, config_file: str) -> None:
        """Read the configuration and make ready; errors name file, key and remedy.

        A component that runs already is finalized first. If that or the new configuration fails it
        stays as it is.
        """
        config = self.configuration.read(config_file)
        extra: ExtraVariables | None = None

        def accept(component: Component) -> None:
            nonlocal extra
            extra = self._extra_variables(component)

        try:
            kind = Component if config.ensemble is None else EnsembleComponent
            component = kind.instead_of(self._component, self._bundle_of(config), config, accept)
        except DmgBmiError as problem:
            raise problem.within(str(config_file)) from problem
        self._adopt(component, extra)
        self._after_initialize(config_file)

    def _adopt(self, component: Component, extra: ExtraVariables | None) -> None:
        self._protocols = None
        self._component, self._clock = component, component.clock
        self._extra, self._about = extra, component.about
        single = len(component.catchments) == 1
        self._set = component.by_kind("input") if single else {}
        self._read = component.by_kind("output") if single else {}
        if extra is not None:
            self._about = self._about.extended(extra.table)
            self._set = {name: array for name, array in self._set.items() if name not in extra.table}

    # -- what other adapters override -----------------------------------------------

    def _extra_variables(self, component: Component) -> ExtraVariables | None:
        """Return variables beyond those of the component, or instead of some; None by default.

        Called by `initialize` once the component is ready and before it replaces a running one.

        Raises
        ------
        ConfigError
            To refuse the component; nothing has changed then.
        """
        return None

    def _after_initialize(self, config_file: str) -> None:
        """Finish `initialize`, when all variables can be set; does nothing by default."""

    def _before_update(self) -> None:
        """Prepare `update` or `update_until`, of any number of steps; does nothing by default.

        An error that it raises leaves the component as it is.
        """

    # -- stepping -----------------------------------------------------------------

    def update(self) -> None:
        """Advance one time step."""
        component = self._component or self.component
        self._before_update()
        component.update()

    def update_until(self, time: float) -> None:
        """Advance to `time`, a multiple of the step that has not passed."""
        component = self.component
        self._before_update()
        component.update(component.clock.steps_until(time))

    def finalize(self) -> None:
        """Write the state if the configuration says so, and give everything up; again is harmless.

        Where the state cannot be written the component goes on as it was, so that it can be tried again.
        """
        if self._component is not None:
            self._component.close()
        self._reset()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy or pickle an object that is not initialized; arrays of a group have one owner."""
        if self._component is not None:
            raise StateError(
                f"{type(self).__name__} is running and cannot be copied or pickled; save its state "
                "(`restart`, or ngen::serialization_state) and initialize another component from it"
            )
        return type(self), ()

    def item_ids(self, name: str) -> tuple[str, ...]:
        """Return the ids of the rows of a variable that has one item per row."""
        self._require(name)
        return self.component.catchments

    @property
    def component(self) -> Component:
        """The component that is adapted."""
        if self._component is None:
            raise NotInitializedError(f"{type(self).__name__}: call initialize(config_file) first")
        return self._component

    # -- the variable table -------------------------------------------------------

    def get_component_name(self) -> str:
        """Return the name of the bundle."""
        if self._component is None and self.bundle is not None:
            return self.bundle.name
        return self.component.info.name

    def get_input_item_count(self) -> int:
        """Return the length of :meth:`get_input_var_names`."""
        return len(self._about.inputs)

    def get_bmi_version(self) -> str:
        """Return the version of the interface, which asks for this method: 2.1, of all that 2.0 has."""
        return "2.1"

    def get_extension(self, name: str) -> object:
        """Return an extension, as drafted for version 3: ``bmi:introspection``, or nothing for other names.

        See :class:`~dmg_bmi.runtime.introspection.Introspection`.
        """
        return Introspection(self._about) if name == INTROSPECTION else None

    def get_output_item_count(self) -> int:
        """Return the length of :meth:`get_output_var_names`."""
        return len(self._about.outputs)

    def get_input_var_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return forcing to be set; empty before `initialize` and where forcing is stored."""
        return self._about.inputs

    def get_output_var_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Return what each update refreshes; empty before `initialize`."""
        return self._about.outputs

    def get_var_units(self, name: str) -> str:
        """Return a UDUNITS string."""
        try:
            units = self._about.units.get(name)
        except TypeError as problem:
            raise unknown_variable(name) from problem
        return self._reserved(name).find(name).units if units is None else units

    def get_var_type(self, name: str) -> str:
        """Return ``float64``, or ``int64`` for ids."""
        try:
            dtype = self._about.types.get(name)
        except TypeError as problem:
            raise unknown_variable(name) from problem
        return self._reserved(name).find(name).dtype if dtype is None else dtype

    def get_var_itemsize(self, name: str) -> int:
        """Return 8 bytes."""
        try:
            size = self._about.itemsizes.get(name)
        except TypeError as problem:
            raise unknown_variable(name) from problem
        return self._reserved(name).array(name).itemsize if size is None else size

    def get_var_nbytes(self, name: str) -> int:
        """Return the bytes of the whole array."""
        try:
            size = self._about.nbytes.get(name)
        except TypeError as problem:
            raise unknown_variable(name) from problem
        return self._reserved(name).array(name).nbytes if size is None else size

    def get_var_location(self, name: str) -> str:
        """Return ``node`` of the scalar grid for one catchment, ``none`` for many."""
        self._require(name)
        return "node" if len(self.component.catchments) == 1 else "none"

    def get_var_grid(self, name: str) -> int:
        """Return the one grid."""
        self._require(name)
        return GRID

    # -- time ---------------------------------------------------------------------

    def get_start_time(self) -> float:
        """Return 0.0."""
        self.component  # noqa: B018  raises before initialize
        return 0.0

    def get_current_time(self) -> float:
        """Return the seconds since the start."""
        clock = self._clock or self.component.clock
        return clock.count * clock.step

    def get_end_time(self) -> float:
        """Return seconds; 1e15 where the configuration names no end."""
        return (self._clock or self.component.clock).end

    def get_time_step(self) -> float:
        """Return the seconds of an update."""
        return (self._clock or self.component.clock).step

    def get_time_units(self) -> str:
        """Return ``s``."""
        self.component  # noqa: B018  raises before initialize
        return "s"

    # -- values -------------------------------------------------------------------

    def get_value_ptr(self, name: str) -> AnyArray:
        """Return the variable's one array, the same object from `initialize` to `finalize`.

        Writing to that of a forcing sets it; all others are read-only.
        """
        try:
            in_table = name in self._about.nbytes
        except TypeError as problem:
            raise unknown_variable(name) from problem
        if in_table:
            return self.component.pointer(name)
        return self._reserved(name).array(name)

    def get_value(self, name: str, dest: AnyArray) -> AnyArray:
        """Copy a variable into `dest`."""
        return fill(name, dest, self._values(name))

    def get_value_at_indices(self, name: str, dest: AnyArray, inds: NDArray[np.integer[Any]]) -> AnyArray:
        """Copy chosen items into `dest`, in place."""
        try:
            array = self._read.get(name)
        except TypeError as problem:
            raise unknown_variable(name) from problem
        if (
            array is not None
            and type(dest) is NDARRAY
            and dest.dtype is FLOAT
            and type(inds) is NDARRAY
            and inds.dtype is INT
            and dest.size == inds.size == 1
            and not inds.item()
        ):
            try:
                dest[0] = array[0]
                return dest
            except ValueError as problem:
                raise ValueShapeError(f"{name!r} cannot go into dest: {problem}") from problem
            except IndexError:
                pass  # without a dimension, which the general way below fills
        values = self._values(name)
        return fill(name, dest, values[as_indices(name, inds, values.size)])

    def set_value(self, name: str, src: AnyArray) -> None:
        """Set an input, attribute or state in place."""
        try:
            array = self._set.get(name)
        except TypeError as problem:
            raise unknown_variable(name) from problem
        if array is not None and type(src) is NDARRAY and src.dtype is FLOAT and src.size == 1:
            array[0] = src.item()
        elif name in self._about.nbytes:
            self.component.set(name, as_numbers(name, src))
        else:
            self._reserved(name).set(name, as_numbers(name, src))

    def set_value_at_indices(self, name: str, inds: NDArray[np.int_], src: AnyArray) -> None:
        """Set chosen items in place."""
        values = self._values(name).copy()
        indices = as_indices(name, inds, values.size)
        new = as_numbers(name, src)
        if new.size != indices.size:
            raise ValueShapeError(f"{name!r}: {new.size} values for {indices.size} indices")
        values[indices] = new.reshape(-1)
        self.set_value(name, values)

    # -- grid ---------------------------------------------------------------------

    def get_grid_type(self, grid: int) -> str:
        """Return ``scalar`` for one catchment, ``none`` for many, which have no geometry."""
        self._grid(grid)
        return "scalar" if len(self.component.catchments) == 1 else "none"

    def get_grid_rank(self, grid: int) -> int:
        """Return 0."""
        self._grid(grid)
        return 0

    def get_grid_size(self, grid: int) -> int:
        """Return the number of catchments."""
        self._grid(grid)
        return len(self.component.catchments)

    def get_grid_node_count(self, grid: int) -> int:
        """Return the number of catchments."""
        return self.get_grid_size(grid)

    def _no_geometry(self: Any, grid: int, *_: Any) -> Any:
        """Raise GridError: catchments have no geometry."""
        self._grid(grid)
        raise GridError("catchments have neither shape, coordinates nor connectivity here")

    without_geometry: ClassVar[Any] = _no_geometry
    get_grid_shape = get_grid_spacing = get_grid_origin = without_geometry
    get_grid_x = get_grid_y = get_grid_z = without_geometry
    get_grid_edge_count = get_grid_face_count = without_geometry
    get_grid_edge_nodes = get_grid_face_edges = get_grid_face_nodes = without_geometry
    get_grid_nodes_per_face = without_geometry
    del without_geometry

    def _grid(self, grid: int) -> None:
        self.component  # noqa: B018  raises before initialize
        if grid is not GRID and not (isinstance(grid, int | np.integer) and grid == GRID):
            raise VariableError(f"there is no grid {grid}; the one grid is {GRID}")

    # -- helpers ------------------------------------------------------------------

    def _bundle_of(self, config: RunConfig) -> BundleInfo:
        fixed = self.bundle
        if config.bundle:
            info = BundleInfo.read(config.bundle)
            if fixed is not None and info.variables != fixed.variables:
                raise ConfigError(
                    f"bundle {info.name!r} has other variables than {fixed.name!r}, of which "
                    f"{type(self).__name__} is the component: use a component of that bundle"
                )
            return info
        if fixed is not None:
            return fixed
        raise ConfigError("missing key 'bundle'; give a folder or a shipped bundle's name")

    def _require(self, name: str) -> None:
        """Raise VariableError for a name that does not exist."""
        try:
            exists = name in self._about.units
        except TypeError as problem:
            raise unknown_variable(name) from problem
        if not exists:
            if self.bundle is None:
                self.component  # noqa: B018  raises before initialize
            raise unknown_variable(name)

    def _values(self, name: str) -> AnyArray:
        try:
            in_table = name in self._about.nbytes
        except TypeError as problem:
            raise unknown_variable(name) from problem
        if in_table:
            return self.component.values(name)
        return self._reserved(name).array(name)

    def _reserved(self, name: str) -> ReservedVariables:
        """Return what answers for a name that is not in the table of the component; raise if nothing does."""
        if self._extra is not None and name in self._extra.table:
            return self._extra
        if self._component is None:
            self._require(name)
        if self._protocols is None:
            self._protocols = NgenProtocols(self.component)
        self._protocols.find(name)
        return self._protocols


def bundle_component(name: str, bundle: str | Path) -> type[DeltaModelBmi]:
    """Make a component class for one bundle: its variable table is readable before `initialize`.

    Parameters
    ----------
    name : str
        Of the class.
    bundle : path
        Folder of the bundle, or the name of a shipped one. Its weights are not loaded yet.
    """
    info = BundleInfo.read(bundle)
    return type(name, (DeltaModelBmi,), {"bundle": info, "__doc__": info.summary or DeltaModelBmi.__doc__})
