"""Joining a Ray cluster, or starting one on this machine."""

import os
import socket
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError

import simbench
from simbench.execution.threads import num_cores

_ANSWER_S = 5.0
"""A cluster that doesn't answer within this time isn't there; Ray itself would try for minutes."""


def join(address: str | None) -> None:
    """Join the cluster at ``address``, or start Ray on this machine."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        ray.init(address="local", num_cpus=num_cores(), include_dashboard=False, **quiet)
        return
    _check_that_it_answers(address)
    # A job has brought this package with it; elsewhere the cluster gets it from here.
    in_a_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    package = str(Path(simbench.__file__).parent)
    try:
        ray.init(
            address=address, runtime_env=None if in_a_job else {"py_modules": [package]}, **quiet
        )
    except (ConnectionError, ValueError, RuntimeError, AuthenticationError) as error:
        raise ConnectionError(f"{address}: no Ray cluster to join: {error}") from None


def _check_that_it_answers(address: str) -> None:
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ConnectionError(f"{address}: expected HOST:PORT of a Ray cluster, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"{address}: no Ray cluster to join: {error}") from None
