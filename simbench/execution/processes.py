"""Actors as child processes of this one: operations side by side on all cores of the machine.

Threads of one process wait for each other: Python's lock changes hands a dozen times in a gradient.
"""

import contextlib
import itertools
import math
import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from simbench.execution.actor import Actor
from simbench.execution.actors import ActorExecutor
from simbench.execution.identity import fingerprint
from simbench.execution.threads import num_cores

_HERE = "127.0.0.1"

_MATH_PLANE = ("simbench.execution.", "simbench.learning.")
"""Modules that operations are made of."""

_BY_OPTIMIZERS = "torch._dynamo"
"""What torch imports, for seconds, when a process makes its first optimiser."""


class ProcessExecutor(ActorExecutor):
    """Child processes, each of which stands in for some nodes, one for each core."""

    def __init__(self, num_nodes: int, num_processes: int | None = None) -> None:
        """Start the processes; by default as many as there are cores, at most one a node."""
        count = min(num_nodes, num_processes or num_cores())
        children = [ChildProcess() for _ in range(count)]
        super().__init__(children, math.ceil(num_nodes / count), count, "cpu", fingerprint("cpu"))

    @property
    def description(self) -> str:
        """One line for people."""
        plural = "" if len(self._actors) == 1 else "es"
        return f"{len(self._actors)} process{plural}, {self._nodes_per_actor} nodes each"


class ChildProcess:
    """An actor in a process of its own, reached through a pipe."""

    def __init__(self) -> None:
        # A server that has imported what they compute with forks them in no time, and they share
        # its memory.
        methods = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context(
            "forkserver" if "forkserver" in methods else "spawn"
        )
        context.set_forkserver_preload(
            [_BY_OPTIMIZERS, *(name for name in sys.modules if name.startswith(_MATH_PLANE))]
        )
        self._pipe: Connection
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs,), name="simbench-actor", daemon=True
        )
        self._process.start()
        theirs.close()
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._asked: dict[int, Future[Any]] = {}
        self._ended: RuntimeError | None = None

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Have the actor call one of its methods."""
        answer: Future[Any] = Future()
        with self._sending:
            if self._ended is not None:
                answer.set_exception(self._ended)
                return answer
            number = next(self._numbers)
            self._asked[number] = answer
            with contextlib.suppress(OSError):  # it has ended, which news() is about to find out
                self._pipe.send((number, method, arguments))
        return answer

    def news(self) -> Iterator[bytes]:
        """Yield what the actor has to tell; pass on its answers to calls meanwhile.

        Raises:
            RuntimeError: it has ended.
        """
        while True:
            try:
                number, error, content = self._pipe.recv()
            except (EOFError, OSError):
                break
            if number is None:
                yield content
            elif error is None:
                self._asked.pop(number).set_result(content)
            else:
                self._asked.pop(number).set_exception(error)
        self._process.join()
        with self._sending:
            self._ended = RuntimeError(
                f"process {self._process.pid} has ended, with code {self._process.exitcode}"
            )
        for answer in self._asked.values():
            answer.set_exception(self._ended)
        raise self._ended

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()  # only news() waits for its end: two who do take it from each other


def _serve(pipe: Connection) -> None:
    """Do what comes through ``pipe``; the process ends with the one that holds the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, who ends this one
    actor = Actor(_HERE)
    answering = threading.Lock()

    def answer(number: int | None, error: BaseException | None, content: Any) -> None:
        with answering:
            pipe.send((number, error, content))

    def tell() -> None:
        for told in actor.news():
            answer(None, None, told)

    threading.Thread(target=tell, name="simbench-news", daemon=True).start()
    while True:
        try:
            number, method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer(number, None, getattr(actor, method)(*arguments))
        except Exception as error:  # noqa: BLE001 - the driver is told
            answer(number, error, None)
