# SPDX-License-Identifier: Apache-2.0
"""The Helm chart as Helm renders it, and the rights that it gives to the server."""

import subprocess

import yaml

from tests.harness.environment import ROOT
from tests.harness.kubernetes import program_cache

CHART = ROOT / "packaging/helm/culvert"
CRDS = CHART / "definitions"
VALUE_SETS = sorted((CHART / "values").glob("*.yaml"))
RELEASE = NAMESPACE = "culvert"
RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def helm():
    return program_cache.newer_tools() / "helm"


def run(*arguments):
    """Runs helm without a cluster: (exit status, standard output, standard error)."""
    answer = subprocess.run([str(part) for part in (helm(), *arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                            text=True,
                            timeout=60, check=False)
    return answer.returncode, answer.stdout, answer.stderr


def render(*arguments, release=RELEASE, namespace=NAMESPACE):
    """The objects of the chart that `helm template` prints with these arguments."""
    status, text, complaint = run("template", release, CHART, "--namespace", namespace, *arguments)
    if status != 0:
        raise AssertionError(f"helm template {' '.join(map(str, arguments))}: {status}\n{complaint}")
    return read(text)


def read(text):
    return [each for each in yaml.safe_load_all(text) if each]


def with_values(path):
    return ["--values", path]


def named(objects, kind, name=None):
    """The only object of this kind (and name)."""
    found = [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} objects {kind} {name or ''}")
    return found[0]


def apply_rights(api, *arguments):
    """Gives the ServiceAccount culvert/culvert-server of this API server exactly the rights that the chart gives it,
    and creates the namespaces of its roles."""
    rights = [each for each in render(*arguments) if each["kind"] in RIGHTS]
    spaces = {each["metadata"]["namespace"] for each in rights if "namespace" in each["metadata"]}
    items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(spaces)] + rights
    api.kubectl("apply", "--filename=-", input={"apiVersion": "v1", "kind": "List", "items": items})
