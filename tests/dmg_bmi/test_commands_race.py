"""Two of one command into one folder: one wins whole or is refused by name, nothing of a third party goes."""

import os
from collections import Counter

import commands
import pytest
from commands import contents
from faults import ALL, Faults, chosen

#: A user's files, one of them in what has the name of a workspace.
MINE = {"mine.txt": b"of a user", ".mine.part": b"of a user", ".mine.dmg_bmi/precious": b"of a user"}
ROUNDS = 20 if ALL else 2
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]


@pytest.mark.parametrize(
    "name", ["run", "couple", "freeze", "import", "parameters", "hindcast", "nextgen prepare"]
)
def test_of_two_processes_one_wins_whole_or_is_refused_by_name(name, tools, race):
    command, folder = commands.COMMANDS[name](tools), tools.folder
    for file, content in MINE.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    whole = []
    for write in (command.old, command.new, command.old):
        assert write(folder) == 0
        whole.append(contents(folder, weights=True))
    assert whole[0] == whole[2] != whole[1]
    ends = Counter()

    def write(k):
        commands.SAID.clear()
        status = (command.old, command.new)[k](folder)
        (tools.given / f"end-{k}").write_text("".join(commands.SAID) if status else "")

    for _ in range(ROUNDS):
        race("processes", write, lambda: None, writers=2, rounds=1)
        ended = [(tools.given / f"end-{k}").read_text() for k in range(2)]
        assert "" in ended
        for said in filter(None, ended):
            assert f"dmg-bmi: error: {folder}" in said
            assert "another process is writing" in said
        ends[sum(map(bool, ended))] += 1
        assert contents(folder, weights=True) in whole[:2]
        assert all((folder / file).read_bytes() == content for file, content in MINE.items())
        assert [p.name for p in folder.rglob("*.dmg_bmi")] == [".mine.dmg_bmi"]
    print(f"{name}: both {ends[0]}, one refused {ends[1]}")


@pytest.mark.parametrize("name", ["run", "couple", "nextgen prepare"])
def test_another_that_comes_between_any_two_calls_wins_whole_or_is_refused(name, tools):
    """The first pauses before its n-th call until the second has ended."""
    command, folder = commands.COMMANDS[name](tools), tools.folder
    folder.mkdir()
    (folder / "mine.txt").write_text("of a user")
    assert command.old(folder) == 0
    old, counted = contents(folder, weights=True), Faults()
    with counted.injected():
        assert command.new(folder) == 0
    new = contents(folder, weights=True)
    refused = 0
    statuses = []

    def other():
        pid = os.fork()
        if pid == 0:
            os._exit(command.old(folder))
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    for n in chosen(counted.count, 4):
        paused = Faults(n, meanwhile=other)
        with paused.injected():
            first = command.new(folder)
        if not paused.failed:
            break
        assert (first, statuses[-1]) in ((0, 0), (0, 2), (2, 0)), n
        # Where both went through, the second may have come when all of the first was in its place.
        wins = [new] * (first == 0) + [old] * (statuses[-1] == 0 or first != 0)
        assert contents(folder, weights=True) in wins, n
        assert not [*folder.rglob("*.dmg_bmi")]
        refused += statuses[-1] == 2
    print(f"{name}: {len(statuses)} schedules, {refused} refused")
    assert refused
