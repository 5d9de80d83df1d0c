# SPDX-License-Identifier: Apache-2.0
"""Large files and their checksums."""

import hashlib
import subprocess


def make_file(path, size):
    """Writes `size` bytes without repetition, the same each time. Returns their SHA-256."""
    with open(path, "wb") as sink:
        zeros = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
        subprocess.run(["openssl", "enc", "-aes-128-ctr", "-K", "00" * 16, "-iv", "01" * 16], stdin=zeros.stdout,
                       stdout=sink, check=True)
        zeros.stdout.close()
        zeros.wait()
    return sha256(path)


def sha256(path):
    with open(path, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
