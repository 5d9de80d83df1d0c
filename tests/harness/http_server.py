# SPDX-License-Identifier: Apache-2.0
"""An HTTP back end in this process, for answers that a test makes up."""

import json
import ssl

from tests.harness.tcp_server import serve


def http_server(case, answer, credentials=None):
    """Reads one request after the other and sends answer(method, path, fields, body), the bytes of a whole response,
    over TLS with `credentials`. Returns the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if credentials:
        context.load_cert_chain(credentials.certificate, credentials.private_key)

    def conversation(connection):
        if credentials:
            connection = context.wrap_socket(connection, server_side=True)
        file = connection.makefile("rb")
        while line := file.readline():
            method, path, _ = line.decode().split()
            fields = {}
            while (field := file.readline().decode().rstrip("\r\n")):
                name, _, value = field.partition(":")
                fields[name.strip().lower()] = value.strip()
            body = file.read(int(fields.get("content-length", 0)))
            if fields.get("transfer-encoding") == "chunked":
                while size := int(file.readline(), 16):
                    body += file.read(size)
                    file.readline()
                file.readline()
            connection.sendall(answer(method, path, fields, body))

    return serve(case, conversation)


def echo_request(method, path, fields, body):
    """An answer whose body has the request as JSON."""
    text = json.dumps({"method": method, "path": path, "fields": fields, "body": body.decode()}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
