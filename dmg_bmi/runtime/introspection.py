"""What a component tells of all its variables, published or not: an extension of the interface.

The third version of the interface is a draft (csdms/bmi, pull requests 186 and 187): ``get_extension(name)``
gives an object, and models publish sets of variables beyond inputs and outputs. All sets here are read from
the variable table.
"""

from __future__ import annotations

from ..errors import VariableError, alternatives
from ..model.variables import Variable, unknown_variable
from .metadata import Metadata

INTROSPECTION = "bmi:introspection"


class Introspection:
    """Sets of a component's variables, and what is known of each.

    Parameters
    ----------
    about : Metadata
    """

    def __init__(self, about: Metadata) -> None:
        self._table = {variable.name: variable for variable in about.by_name.values()}
        published = {*about.inputs, *about.outputs}
        kinds = {
            "diagnostic": ("output",),
            "parameter": ("multiplier", "attribute"),
            "state": ("state",),
            "observation": ("observation",),
            "adjoint": ("adjoint",),
        }
        rest = [v for v in self._table.values() if v.name not in published]
        self._sets = {"input": about.inputs, "output": about.outputs}
        self._sets |= {name: tuple(v.name for v in rest if v.kind in some) for name, some in kinds.items()}

    def get_set_names(self) -> tuple[str, ...]:
        """Return the names of sets that are not empty; ``input`` and ``output`` are the interface's."""
        return tuple(name for name, names in self._sets.items() if names)

    def get_set_var_names(self, name: str) -> tuple[str, ...]:
        """Return the names of a set's variables, all of which the getters of the interface take.

        Raises
        ------
        VariableError
            If there is no such set.
        """
        if name not in self._sets:
            raise VariableError(f"no set {name!r} of variables; {alternatives(name, self._sets)}")
        return self._sets[name]

    def get_var_meaning(self, name: str) -> str:
        """Return one line for people."""
        return self._find(name).meaning

    def get_var_model_units(self, name: str) -> str:
        """Return the units of the equations."""
        return self._find(name).model_units

    def get_var_range(self, name: str) -> tuple[float, float]:
        """Return the lowest and highest legal value in the units of the equations; infinite where free."""
        variable = self._find(name)
        return variable.lower, variable.upper

    def _find(self, name: str) -> Variable:
        if name not in self._table:
            raise unknown_variable(name)
        return self._table[name]
