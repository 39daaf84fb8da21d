"""Environments of the peers, one for each file of requirements."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE.parents[2] / "constraints.txt"
PYTHON = "3.11"


def python_of(name: str, directory: Path) -> Path:
    """Return the interpreter of an environment below `directory`; make it where it is missing.

    Raises:
        subprocess.CalledProcessError: It cannot be made; the output of uv has the reason.
    """
    environment = directory / name
    python = environment / "bin" / "python"
    done = environment / "installed"
    if not done.exists():
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
        print(f"installing {name} into {environment}", file=sys.stderr)
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", PYTHON, environment], check=True)
        requirements = ["--requirement", str(HERE / f"{name}.txt")]
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, *requirements], check=True
        )
        if "\ntorch==" in (HERE / f"{name}.txt").read_text():
            # The wheel says by itself which libraries of CUDA it needs, if any.
            constraints = ["--constraint", str(CONSTRAINTS)]
            subprocess.run(
                [uv, "pip", "install", "--quiet", "--python", python, *constraints, "torch"], check=True
            )
        done.touch()
    return python
