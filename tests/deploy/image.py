"""The image of deploy/Dockerfile, built and run by buildah and a chroot: no container engine is needed.

The base is Debian's Python with Debian's PyTorch, which has no CUDA (`--build-arg TORCH=system`): the named
base image and PyTorch's own index may be out of reach where tests run. Everything else is the Dockerfile's.

    python -m tests.deploy.image DIRECTORY    builds it there and prints its root and size; minutes, 4 GB
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.files import DEPLOY, ROOT

SUITE = "trixie"  # whose PyTorch is new enough
BASE, TAG = "localhost/base", "localhost/streamgauge:test"
AUTHORITIES = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: its root file system, what its configuration says, its size on disk."""

    root: Path
    config: Mapping[str, Any]
    num_bytes: int
    base_bytes: int

    @property
    def health_check(self) -> list[str]:
        return list(self.config["Healthcheck"]["Test"][1:])

    def command(
        self, words: Sequence[str], binds: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> list[str]:
        """What runs `words` inside, as the image's user; binds are SOURCE:TARGET[:ro]."""
        variables = [*self.config["Env"], *(f"{key}={value}" for key, value in (environ or {}).items())]
        return [
            *("env", f"USER_GROUP={self.config['User']}", f"WORKDIR={self.config['WorkingDir']}"),
            *(str(Path(__file__).with_name("sandbox.sh")), str(self.root)),
            *(word for bind in binds for word in ("-b", bind)),
            *(word for variable in variables for word in ("-e", variable)),
            *("--", *words),
        ]

    def run(
        self, words: Sequence[str], binds: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = self.command(words, binds, environ)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def build(directory: Path) -> Image:
    """Build base and image under `directory`; what is there of the base is used again."""
    directory.mkdir(parents=True, exist_ok=True)
    base = directory / "base"
    if not (directory / "base-is-ready").exists():
        shutil.rmtree(base, ignore_errors=True)
        _run(
            [
                "debootstrap",
                "--variant=minbase",
                "--include=python3,python3-venv,ca-certificates",
                SUITE,
                base,
            ]
        )
        _run(["chroot", base, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-torch"])
        _run(["chroot", base, "apt-get", "clean"])
        shutil.copy(AUTHORITIES, base / "etc/ssl/certs/ca-certificates.crt")
        (directory / "base-is-ready").touch()
    _buildah(directory, "rm", "--all")
    _buildah(directory, "rmi", "--all", "--force")
    _import(directory, base)
    _buildah(
        directory,
        *("bud", "--isolation", "chroot", "--pull-never", "--format", "docker"),
        *("--ignorefile", DEPLOY / "Dockerfile.dockerignore", "--file", DEPLOY / "Dockerfile"),
        *("--build-arg", f"PYTHON_IMAGE={BASE}", "--build-arg", "TORCH=system"),
        *("--build-arg", "EXTRAS=avro compression explore", "--tag", TAG, ROOT),
    )
    return opened(directory)


def opened(directory: Path) -> Image:
    """The image that was built under `directory` last."""
    container = _buildah(directory, "from", "--pull-never", TAG)
    root = Path(_buildah(directory, "mount", container))
    inspected = json.loads(_buildah(directory, "inspect", "--type", "image", TAG))
    return Image(root, inspected["Docker"]["config"], _size(root), _size(directory / "base"))


def _import(directory: Path, base: Path) -> None:
    """The base's files as an image."""
    container = _buildah(directory, "from", "scratch")
    _run(["cp", "-a", f"{base}/.", _buildah(directory, "mount", container)])
    _buildah(directory, "commit", "--quiet", "--rm", container, BASE)


def _buildah(directory: Path, *words: object) -> str:
    stores = ("--root", directory / "store", "--runroot", directory / "run", "--storage-driver", "vfs")
    return _run(["buildah", *stores, *words])


def _size(root: Path) -> int:
    return int(_run(["du", "-sxB1", root]).split()[0])


def _run(words: Sequence[object]) -> str:
    command = [str(word) for word in words]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if outcome.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{outcome.stdout[-4000:]}{outcome.stderr[-4000:]}")
    return outcome.stdout.strip()


if __name__ == "__main__":
    built = build(Path(sys.argv[1]).resolve())
    print(f"{built.root}\n{built.num_bytes / 1e6:.0f} MB, of which the base {built.base_bytes / 1e6:.0f} MB")
