"""Whether the tests notice: small changes to the code, one at a time, and which of them survive.

    python benchmarks/mutants.py [--sample 60] [--seed 0] [--only inputs] [--output mutants.json]

Each mutant is a module with one operator, constant, condition, statement or returned value changed; it
lives in a forked process only, which runs the tests of that module until one fails. Survivors are printed:
each is a missing test, or changes nothing that anybody could see, which is said in ``EQUIVALENT``.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUNTIME, TESTS = "dmg_bmi/runtime", "tests/dmg_bmi"
_BMI = tuple(f"{TESTS}/test_bmi{of}.py" for of in ("", "_arrays", "_refusals"))
_GROUP = tuple(f"{TESTS}/runtime/test_{of}.py" for of in ("group", "group_states", "group_members"))
_GROUP += (f"{TESTS}/runtime/test_model_params.py", *_BMI)
_SPLITS = (f"{TESTS}/test_bmi_splits.py", f"{TESTS}/test_bmi_water.py", f"{TESTS}/test_bmi_forcing.py")
_WATER = f"{TESTS}/runtime/test_ngen_protocols.py", f"{TESTS}/model/test_roles_bmi.py"
#: Module to its tests, those first that fail soonest.
MODULES = {
    "dmg_bmi/bmi.py": (*_BMI, "tests/fuzz/test_found.py", f"{TESTS}/test_routing_bmi.py"),
    f"{RUNTIME}/group.py": (*_GROUP, *_SPLITS, *_WATER),
    f"{RUNTIME}/row_states.py": (*_GROUP, *_SPLITS, *_WATER),
    f"{RUNTIME}/shared_setup.py": (
        *_GROUP,
        f"{TESTS}/runtime/forcing/test_aggregation.py",
        f"{TESTS}/runtime/forcing/test_pet_from_weather.py",
        f"{TESTS}/test_routing_bmi.py",
    ),
    f"{RUNTIME}/state_codec.py": (f"{TESTS}/runtime/test_state_codec.py", "tests/fuzz/test_found.py"),
    f"{RUNTIME}/restart.py": ("tests/fuzz/test_found.py", *_BMI, *_SPLITS),
    f"{RUNTIME}/forcing/aggregation.py": (
        f"{TESTS}/runtime/forcing/test_inputs.py",
        f"{TESTS}/test_bmi_forcing.py",
    ),
    f"{RUNTIME}/clock.py": (f"{TESTS}/runtime/test_clock.py", f"{TESTS}/runtime/forcing/test_aggregation.py"),
}
#: Long runs, whose promises shorter tests show as well.
QUICK = "not thousand and not five_years"
#: Bytes that a mutant may take.
MEMORY = 8 * 2**30
#: Mutants that nobody could tell from the code: module, source line, change.
EQUIVALENT = {
    # A short cut that is not taken.
    ("dmg_bmi/bmi.py", "and type(dest) is NDARRAY", "Is is IsNot"),
    # Nothing is so near to a tolerance; where it is, either answer is right.
    (f"{RUNTIME}/clock.py", "if self.ratio < 1 or abs(ratio - self.ratio) > 1e-9 * ratio:", "Gt is GtE"),
    (f"{RUNTIME}/clock.py", "if abs(exact - whole) > 1e-6:", "Gt is GtE"),
    (f"{RUNTIME}/restart.py", "if steps < 1 or abs(steps * step - every) > 1e-6 * step:", "Gt is GtE"),
    (f"{RUNTIME}/clock.py", "if (self.count + 1) * self.step > self.end * (1 + 1e-12):", "Gt is GtE"),
    # What one model does not look at.
    (f"{RUNTIME}/row_states.py", "if len(model.process_models) > 1:", "Gt is GtE"),
    # The rows of one member are sorted.
    (
        f"{RUNTIME}/group.py",
        "return np.sort(np.concatenate(rows)) if len(rows) > 1 else rows[0]",
        "Gt is GtE",
    ),
    # A tensor of one number is on the same device.
    (f"{RUNTIME}/shared_setup.py", "return torch.empty(0, device=name).device", "0 is 1"),
    # The processor is where a model is built.
    (f"{RUNTIME}/shared_setup.py", "self.model.to(self.device)", "removed"),
}

COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a node could be instead, and in words."""
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            other = copy.deepcopy(node)
            other.ops[k] = COMPARISONS[type(op)]()
            yield f"{type(op).__name__} is {type(other.ops[k]).__name__}", other
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        op = ARITHMETIC[type(node.op)]()
        yield f"{type(node.op).__name__} is {type(op).__name__}", ast.BinOp(node.left, op, node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
        op = ARITHMETIC[type(node.op)]()
        yield f"{type(node.op).__name__} is {type(op).__name__}", ast.AugAssign(node.target, op, node.value)
    elif isinstance(node, ast.BoolOp):
        op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{type(node.op).__name__} is {type(op).__name__}", ast.BoolOp(op, node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield f"without {type(node.op).__name__}", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield f"{node.value} is {value}", ast.Constant(value)
    elif isinstance(node, (ast.If, ast.IfExp)) and isinstance(node.test, (ast.Name, ast.Attribute, ast.Call)):
        other = copy.deepcopy(node)
        other.test = ast.UnaryOp(ast.Not(), other.test)
        yield "the condition is its opposite", other
    elif isinstance(node, ast.Return) and not (node.value is None or isinstance(node.value, ast.Constant)):
        yield "returns None", ast.Return(ast.Constant(None))
    yield from _removals(node)


def _removals(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, (ast.Raise, ast.AugAssign, ast.Delete)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "removed", ast.Pass()
    if isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple)):
        yield "removed", ast.Pass()


def mutants(path: Path) -> Iterator[tuple[int, str, ast.Module]]:
    """Every mutant of a module: line, change, tree."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    places: list[tuple[ast.AST, str, int | None, ast.AST]] = []

    def visit(node: ast.AST) -> None:
        for name, content in ast.iter_fields(node):
            # Annotations are not run, and texts are for people.
            if name in ("annotation", "returns", "decorator_list") or isinstance(content, ast.JoinedStr):
                continue
            # Of what is zipped strictly the lengths are equal: it asserts.
            if isinstance(node, ast.keyword) and node.arg == "strict":
                continue
            for k, child in enumerate(content if isinstance(content, list) else [content]):
                if isinstance(child, ast.AST):
                    places.append((node, name, k if isinstance(content, list) else None, child))
                    if not isinstance(child, (ast.Raise, ast.JoinedStr, ast.Assert)):
                        visit(child)

    visit(tree)
    for parent, name, k, child in places:
        for words, other in changes(child):
            ast.copy_location(other, child)
            put(parent, name, k, other)
            mutant = ast.fix_missing_locations(copy.deepcopy(tree))
            put(parent, name, k, child)
            yield child.lineno, words, mutant  # type: ignore[attr-defined]


def put(parent: ast.AST, name: str, k: int | None, child: ast.AST) -> None:
    """Set a field of a node, or an item of it."""
    if k is None:
        setattr(parent, name, child)
    else:
        getattr(parent, name)[k] = child


def survives(
    path: Path, mutant: ast.Module | None, tests: tuple[str, ...], folder: Path, seconds: float = 3600.0
) -> bool:
    """Whether the tests pass with the mutant in the place of the module."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            quiet = os.open(folder / "pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            if mutant is not None:
                _replace(path, mutant)
            import pytest

            # Else pytest itself compiles the modules of its plugins' packages, ours among them.
            options = [
                "--assert=plain",
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:randomly",
                "-k",
                QUICK,
            ]
            status = pytest.main([*options, f"--basetemp={folder / 'tests'}", *tests])
            os._exit(int(status))
        finally:
            os._exit(3)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _replace(path: Path, mutant: ast.Module) -> None:
    """Let this process import the mutant instead of the module."""
    get_code = SourceFileLoader.get_code

    def mutated(self: SourceFileLoader, fullname: str) -> Any:
        if Path(self.path).resolve() == path:
            return compile(mutant, str(path), "exec", dont_inherit=True)
        return get_code(self, fullname)

    SourceFileLoader.get_code = mutated  # type: ignore[method-assign,assignment]


def _described(module: str, lines: list[str], mutant: tuple[int, str, ast.Module]) -> str:
    line, words, _ = mutant
    return f"{module}:{line}: {lines[line - 1].strip()}  [{words}]"


def main() -> int:
    """Run, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=60, help="mutants per module (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of modules")
    parser.add_argument("--again", type=Path, help="an earlier output: only what survived then")
    parser.add_argument("--output", type=Path, default=Path("mutants.json"))
    given = parser.parse_args()
    os.chdir(ROOT)
    os.environ["CI"] = "1"  # the same examples each time
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(ROOT))
    # What every child needs, but nothing of ours.
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch
    import yaml  # noqa: F401

    torch.set_num_threads(1)
    import tempfile

    report: dict[str, Any] = {"seed": given.seed}
    earlier = json.loads(given.again.read_text(encoding="utf-8")) if given.again else None
    with tempfile.TemporaryDirectory() as name:
        for module, tests in MODULES.items():
            if given.only and Path(module).stem not in given.only:
                continue
            if earlier is not None and module not in earlier:
                continue
            survivors = None if earlier is None else earlier[module]["survivors"]
            report[module] = _mutate(module, tests, Path(name), given, survivors)
            given.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _mutate(
    module: str, tests: Any, folder: Path, given: argparse.Namespace, survivors: list[str] | None
) -> dict[str, Any]:
    """Try a sample of the mutants of a module, of `survivors` alone if there are some."""
    path = ROOT / module
    lines = path.read_text(encoding="utf-8").splitlines()
    begin = time.monotonic()
    if not survives(path, None, tests, folder):
        log = (folder / "pytest.log").read_text()
        raise SystemExit(f"{module}: its tests fail without any change:\n{log}")
    limit = 30.0 + 3.0 * (time.monotonic() - begin)
    every = [m for m in mutants(path) if survivors is None or _described(module, lines, m) in survivors]
    chosen = random.Random(f"{given.seed}-{module}").sample(every, min(given.sample, len(every)))
    same, alive = 0, []
    for line, words, mutant in sorted(chosen, key=lambda m: m[0]):
        if (module, lines[line - 1].strip(), words) in EQUIVALENT:
            same += 1
        elif survives(path, mutant, tests, folder, limit):
            alive.append(_described(module, lines, (line, words, mutant)))
            print(alive[-1], flush=True)
    tried = len(chosen) - same
    killed = tried - len(alive)
    print(f"{module}: {killed} of {tried} killed, {same} equivalent, {len(every)} in all", flush=True)
    return {"killed": killed, "tried": tried, "equivalent": same, "survivors": alive}


if __name__ == "__main__":
    sys.exit(main())
