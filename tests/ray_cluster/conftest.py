"""A cluster on this machine that ``ray start --head`` makes."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest


class Head(NamedTuple):
    address: str
    dashboard: str


@pytest.fixture(scope="module")
def head():
    """Start a head with 2 cores on free ports; end it and everything that it started."""
    temporary = _short_folder()
    patch = pytest.MonkeyPatch()
    # Ray's Jobs API refuses a submission without a token, on both ends.
    patch.setenv("RAY_AUTH_MODE", "token")
    patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    binaries = Path(sys.executable).parent  # the job's "python" is found here
    gcs, dashboard, client, agent = _free_ports(4)
    command = [
        binaries / "ray", "start", "--head", "--block", "--num-cpus=2", "--num-gpus=0",
        "--node-ip-address=127.0.0.1", f"--port={gcs}", "--include-dashboard=true",
        f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}",
        f"--dashboard-agent-listen-port={agent}", f"--temp-dir={temporary}",
    ]  # fmt: skip
    environment = os.environ | {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": f"{temporary}/cache",  # what jobs know mustn't come from other runs
    }
    log = Path(temporary) / "head.log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            list(map(str, command)),
            env=environment,
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        for port in (gcs, dashboard, agent):
            _wait_for(port, process, log)
        yield Head(f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        patch.undo()
        shutil.rmtree(temporary, ignore_errors=True)


def _short_folder():
    # Ray's sockets lie below it, whose paths must be short.
    return tempfile.mkdtemp(prefix="sb-ray-", dir="/tmp")


def _free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def _wait_for(port, process, log):
    ends = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
        else:
            return
