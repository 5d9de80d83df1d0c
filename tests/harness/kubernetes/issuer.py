# SPDX-License-Identifier: Apache-2.0
"""What cert-manager does with a CertificateRequest: the definition of the objects, without its rules, and an issuer
that signs each one."""

import base64
import json
import threading

from tests.harness.commands import openssl
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster import NAMESPACE

REQUESTS = "certificaterequests.cert-manager.io"
COLLECTION = f"/apis/cert-manager.io/v1/namespaces/{NAMESPACE}/certificaterequests"
EVERY = 0.2


class Issuer:
    """Signs with the key of `authority` in a thread of its own, until close(). `seen` are the objects signed."""

    def __init__(self, api, authority):
        self.api, self.authority, self.seen, self.over = api, authority, [], threading.Event()
        api.kubectl("apply", "--filename=-", input={
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": REQUESTS},
            "spec": {"group": "cert-manager.io", "scope": "Namespaced",
                     "names": {"kind": "CertificateRequest", "plural": "certificaterequests",
                               "singular": "certificaterequest"},
                     "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                                   "schema": {"openAPIV3Schema": {
                                       "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}})
        api.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{REQUESTS}")
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        self.over.set()
        self.thread.join()

    def run(self):
        while not self.over.wait(EVERY):
            for request in json.loads(self.api.get(COLLECTION))["items"]:
                if "status" not in request:
                    self.sign(request)

    def sign(self, request):
        files = self.authority.folder / request["metadata"]["name"]
        asked, certificate, extensions = (files.with_suffix(end) for end in (".csr", ".pem", ".ext"))
        asked.write_bytes(base64.b64decode(request["spec"]["request"]))
        extensions.write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                              "extendedKeyUsage=clientAuth\n")
        openssl("x509", "-req", "-in", asked, "-CA", self.authority.ca, "-CAkey", self.authority.key, "-CAcreateserial",
                "-days", 1, "-copy_extensions", "copy", "-extfile", extensions, "-out", certificate)
        self.seen.append(request)
        ready = {"type": "Ready", "status": "True", "reason": "Issued", "message": "",
                 "lastTransitionTime": "2026-01-02T03:04:05Z"}
        status = {"conditions": [ready], "certificate": base64.b64encode(certificate.read_bytes()).decode()}
        self.api.kubectl("patch", REQUESTS, request["metadata"]["name"], f"--namespace={NAMESPACE}", "--type=merge",
                         "--subresource=status", f"--patch={json.dumps({'status': status})}",
                         program=program_cache.newer_tools() / "kubectl")
