# SPDX-License-Identifier: Apache-2.0
"""HTTPS servers that are as old as those in private networks: TLS 1.0, and TLS without secure renegotiation."""

import ctypes

from tests.harness.ports import free_port
from tests.harness.program import Program
from tests.harness.tcp_server import serve

# Of gnutls.h.
SERVER, CERTIFICATE, PEM = 1, 1, 1


def old_version(case, credentials, version, name="s_server"):
    """openssl s_server with `version` (tls1, tls1_1) only: 200 for each GET. Returns the port."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", credentials.certificate,
               "-key", credentials.private_key, "-www", f"-{version}", "-cipher", "ALL:@SECLEVEL=0"]
    Program(case, name, command).start().wait_for_port(port)
    return port


def without_secure_renegotiation(case, credentials, body):
    """A server of GnuTLS, which alone can leave RFC 5746 out: answers each connection with `body`. Returns the port."""
    gnutls = ctypes.CDLL("libgnutls.so.30")

    def must(result):
        if result < 0:
            raise OSError(f"GnuTLS: error {result}")

    keys = ctypes.c_void_p()
    must(gnutls.gnutls_certificate_allocate_credentials(ctypes.byref(keys)))
    must(gnutls.gnutls_certificate_set_x509_key_file(keys, str(credentials.certificate).encode(),
                                                     str(credentials.private_key).encode(), PEM))

    def answer(connection):
        session, room = ctypes.c_void_p(), ctypes.create_string_buffer(4096)
        must(gnutls.gnutls_init(ctypes.byref(session), SERVER))
        try:
            must(gnutls.gnutls_priority_set_direct(
                session, b"NORMAL:-VERS-ALL:+VERS-TLS1.2:%DISABLE_SAFE_RENEGOTIATION", None))
            must(gnutls.gnutls_credentials_set(session, CERTIFICATE, keys))
            gnutls.gnutls_transport_set_int2(session, connection.fileno(), connection.fileno())
            must(gnutls.gnutls_handshake(session))
            must(gnutls.gnutls_record_recv(session, room, len(room)))
            text = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body.encode())
            must(gnutls.gnutls_record_send(session, text, len(text)))
            gnutls.gnutls_bye(session, 0)
        finally:
            gnutls.gnutls_deinit(session)

    return serve(case, answer)
