"""What a key covers beside inputs: the source that an operation runs, and the machine it runs on.

Measured: torch changes bits with the number of threads, the CPU's capability and MKL's settings.
The promise of the same bits is therefore made per fingerprint, and every key contains it.
"""

import ast
import functools
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch


@functools.cache
def source_hash(*classes: type) -> str:
    """Return the SHA-256 of the files that define ``classes`` and of all that those import.

    Imports are followed within the top-level package of each class: library versions stand in
    the fingerprint.
    """
    files: dict[str, bytes] = {}
    for member in classes:
        _collect(member.__module__, files)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()


def _collect(module_name: str, files: dict[str, bytes]) -> None:
    if module_name in files:
        return
    text, imported = _read(sys.modules[module_name])
    files[module_name] = text
    package = module_name.partition(".")[0]
    for name in imported:
        if name.partition(".")[0] == package and name in sys.modules:
            _collect(name, files)


@functools.cache
def _read(module: ModuleType) -> tuple[bytes, tuple[str, ...]]:
    # A class typed into a prompt or a __main__ without a file has no source to hash.
    if module.__file__ is None:
        raise ValueError(f"the source of module {module.__name__} can't be found to be hashed")
    text = Path(module.__file__).read_bytes()
    imported = []
    for statement in ast.walk(ast.parse(text)):
        if isinstance(statement, ast.Import):
            imported += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            relative = "." * statement.level + (statement.module or "")
            base = importlib.util.resolve_name(relative, module.__package__)
            imported += [base] + [f"{base}.{alias.name}" for alias in statement.names]
    return text, tuple(imported)


def fingerprint(device: str) -> dict[str, str]:
    """Return what the bits of a result depend on: processor, libraries and their settings."""
    chosen = ("MKL_", "ONEDNN_", "DNNL_", "ATEN_", "CUBLAS_")
    settings = {name: value for name, value in os.environ.items() if name.startswith(chosen)}
    return {
        "processor": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "device": device,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "denormals": "zero",  # as executors set torch
        "settings": ",".join(f"{name}={settings[name]}" for name in sorted(settings)),
    }


@functools.cache
def compiler() -> str:
    """Return the C++ compiler that ``torch.compile`` has at hand, by its own name and version."""
    command = [os.environ.get("CXX", "g++"), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return "none"
    return done.stdout.partition("\n")[0]


def _processor() -> str:
    """Vendor, family, model and name of the processor, as Linux tells them; else its short name."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part")
    lines = path.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return " ".join(value.strip() for name, _, value in pairs if name.strip() in wanted)
