"""Processes of their own that need not import PyTorch, which takes seconds: forks of one that has.

``python forks.py`` reads a request in JSON per line, forks, and answers with the status of that process.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


class Forks:
    """Runs scripts as ``subprocess.run([sys.executable, *arguments], cwd=..., env=...)`` would.

    Of what is not there when an interpreter starts, a script finds PyTorch and what that imports alone.

    Parameters
    ----------
    env : dict of str to str
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, bufsize=0
        )

    def run(
        self, arguments: Sequence[object], cwd: Path, timeout: float = 200.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a script, or ``-c`` code, with arguments, in a folder."""
        words = [str(word) for word in arguments]
        with TemporaryDirectory() as folder:
            said = [Path(folder, name) for name in ("stdout", "stderr")]
            request = {"arguments": words, "cwd": str(cwd), "said": [str(path) for path in said]}
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            if not select.select([self._server.stdout], [], [], timeout)[0]:
                self.close()
                raise subprocess.TimeoutExpired(words, timeout)
            status = int(self._server.stdout.readline())
            texts = (path.read_text(encoding="utf-8", errors="backslashreplace") for path in said)
            return subprocess.CompletedProcess(words, status, *texts)

    def close(self) -> None:
        """End the process, and what it may wait for."""
        self._server.stdin.close()
        try:
            self._server.wait(5)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server.stdout.close()


def serve() -> None:
    """Fork for each request; the fork returns from here and so ends as any interpreter does."""
    import torch  # noqa: F401

    while line := sys.stdin.buffer.readline():
        child = os.fork()
        if not child:
            become(**json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(arguments: list[str], cwd: str, said: list[str]) -> Any:
    """Be the process that was asked for."""
    os.chdir(cwd)
    for number, path in enumerate([os.devnull, *said]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    if arguments[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *arguments[2:]], ""
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = arguments, str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    serve()
