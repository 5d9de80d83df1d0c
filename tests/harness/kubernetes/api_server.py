# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes API server 1.20 with its etcd, on loopback: storage, validation, watches, RBAC and service account
tokens as in a cluster. There is no controller, no kubelet and no kube-proxy, so deleted namespaces stay, and no pod
runs."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request

from tests.harness.certificates import Authority
from tests.harness.commands import openssl
from tests.harness.kubernetes import program_cache
from tests.harness.ports import free_port
from tests.harness.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


READY_SECONDS_MAX = 120
END_SECONDS_MAX = 15
SERVICE_NETWORK = "10.96.0.0/16"
ISSUER = "https://kubernetes.default.svc.cluster.local"
NAMES = ["localhost", "127.0.0.1", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]


class ApiServer:
    """etcd and kube-apiserver. Both are ready when the constructor or start() returns; close(), or the end of a with
    block, ends both and removes their files. For one thread. `arguments` are added to those of kube-apiserver and
    override ours of the same name."""

    def __init__(self, *arguments):
        self.programs = program_cache.api_server()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-kubernetes-"))
        self.etcd = self.server = None
        self.port, self.etcd_port, self.etcd_peer_port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        try:
            authority = Authority(self.folder / "certificates", "kubernetes")
            self.ca = authority.ca
            self.admin = authority.issue("admin", "DNS:admin", "clientAuth", subject="/O=system:masters/CN=admin")
            self.kubeconfig = self.write_kubeconfig("admin",
                                                    {"client-certificate": self.admin.certificate,
                                                     "client-key": self.admin.private_key})
            self.command = self.api_command(authority.server(*NAMES), arguments)
            self.start_etcd()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stop()
        end(self.etcd)
        shutil.rmtree(self.folder)

    # --- the two processes --------------------------------------------------------------------------------------------

    def start_etcd(self):
        url, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.etcd_peer_port}"
        self.etcd = self.launch("etcd", [
            "--name=test", f"--data-dir={self.folder}/etcd", f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=test={peer}", "--unsafe-no-fsync"])
        self.wait_for("etcd", self.etcd, lambda: json.loads(self.ask_etcd("/health"))["health"] == "true")

    def api_command(self, serving, arguments):
        openssl("genrsa", "-out", self.folder / "service-accounts.key", 2048)
        return [
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self.port}", "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_NETWORK}", f"--cert-dir={self.folder}",
            f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.private_key}",
            f"--client-ca-file={self.ca}", "--authorization-mode=RBAC", f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={self.folder}/service-accounts.key",
            f"--service-account-signing-key-file={self.folder}/service-accounts.key", *arguments]

    def start(self):
        """Starts the API server alone, with its port and its data."""
        self.server = self.launch("kube-apiserver", self.command)
        self.wait_for("kube-apiserver", self.server, lambda: self.get("/readyz") == "ok")

    def stop(self):
        """Ends the API server alone: its connections are reset, and its port refuses until start()."""
        end(self.server, kill=True)

    def launch(self, name, arguments):
        with open(self.folder / f"{name}.log", "ab") as sink:
            return subprocess.Popen([self.programs / name, *arguments], stdin=subprocess.DEVNULL, stdout=sink,
                                    stderr=sink, cwd=self.folder)

    def wait_for(self, name, process, is_ready):
        def ready():
            if process.poll() is not None:
                raise AssertionError(f"{name} exited with {process.returncode}:\n{self.log(name)[-4000:]}")
            with contextlib.suppress(http.client.HTTPException):
                return is_ready()

        wait_until(ready, READY_SECONDS_MAX, f"{name} to be ready", every=0.1)

    def log(self, name="kube-apiserver"):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    # --- requests -----------------------------------------------------------------------------------------------------

    def context(self, is_admin=True):
        """For TLS to it, with the administrator's certificate or without one."""
        context = ssl.create_default_context(cafile=self.ca)
        if is_admin:
            context.load_cert_chain(self.admin.certificate, self.admin.private_key)
        return context

    def get(self, path, seconds=10):
        """GET as administrator, without kubectl. An error status raises urllib.error.HTTPError, which is an OSError."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=self.context()))
        try:
            with opener.open(self.url + path, timeout=seconds) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            error.close()
            raise

    def kubectl(self, *arguments, input=None, status=0, seconds=60, kubeconfig=None, program=None):
        """Runs Debian's kubectl, or `program`, as administrator; `input`, a text or an object, is its standard input.
        Expects this exit status (None: any) and returns the output."""
        text = input if input is None or isinstance(input, str) else json.dumps(input)
        command = [program or self.programs / "kubectl", *map(str, arguments)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder),
                       "KUBECONFIG": str(kubeconfig or self.kubeconfig)}
        answer = subprocess.run(command, input=text or "", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=seconds,
                                env=environment, check=False)
        if status is not None and answer.returncode != status:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {answer.returncode}\n{answer.stdout}")
        return answer.stdout

    def token(self, service_account, namespace="default", seconds=3600, secret=None):
        """A token of this service account, which must exist. Valid for `seconds`, at least 600, and only while `secret`
        exists."""
        bound = {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": secret}} if secret else {}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                   "spec": {"expirationSeconds": seconds, **bound}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        return json.loads(self.kubectl("create", "--raw", path, "--filename=-", input=request))["status"]["token"]

    def kubeconfig_of(self, service_account, namespace="default"):
        """A kubeconfig with the rights of this service account."""
        name = f"{namespace}-{service_account}"
        return self.write_kubeconfig(name, {"token": self.token(service_account, namespace)}, namespace)

    def write_kubeconfig(self, name, user, namespace="default"):
        path = self.folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": name, "user": {key: str(value) for key, value in user.items()}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name, "namespace": namespace}}]}))
        return path

    # --- storage ------------------------------------------------------------------------------------------------------

    def compact(self):
        """Removes all revisions but the current one, so that continuing an older list is answered with 410. So is a
        watch from an older revision once the API server has lost its cache of events (stop, start). Returns the
        revision."""
        # First one more revision, which no client has seen: a client that is up to date would not notice.
        mark = base64.b64encode(b"/compacted").decode()
        revision = int(json.loads(self.ask_etcd("/v3/kv/put", {"key": mark, "value": mark}))["header"]["revision"])
        self.ask_etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        return revision

    def ask_etcd(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.etcd_port}{path}", body and json.dumps(body).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.read().decode()


def end(process, kill=False):
    if process is None or process.poll() is not None:
        return
    process.kill() if kill else process.terminate()
    try:
        process.wait(END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
