# SPDX-License-Identifier: Apache-2.0
"""nginx and Apache, each with a configuration in the folder of the test."""

from tests.harness.environment import AS_ROOT
from tests.harness.ports import free_port
from tests.harness.program import Program


def nginx(case, credentials=None, name="nginx", more="", location="dav_methods PUT; create_full_put_path on;",
          access_log="off", global_more=""):
    """nginx: GET and PUT on case.folder/"www", over TLS with `credentials`. `more`: directives of its server;
    `location`: those of its root location instead of PUT; `global_more`: those of all HTTP. Returns the port."""
    port, root = free_port(), case.folder / "www"
    root.mkdir(exist_ok=True)
    tls = f"""ssl_certificate {credentials.certificate};
            ssl_certificate_key {credentials.private_key};""" if credentials else ""
    config = case.folder / f"{name}.conf"
    config.write_text(f"""
        {"user root;" if AS_ROOT else ""}
        daemon off; worker_processes 1; pid {case.folder}/{name}.pid; error_log stderr warn;
        events {{ worker_connections 4096; }}
        http {{
          {global_more} access_log {access_log}; sendfile on; client_max_body_size 0; root {root};
          client_body_temp_path {case.folder}/{name}-body; proxy_temp_path {case.folder}/{name}-proxy;
          fastcgi_temp_path {case.folder}/{name}-f; uwsgi_temp_path {case.folder}/{name}-u;
          scgi_temp_path {case.folder}/{name}-s;
          server {{
            listen 127.0.0.1:{port} {"ssl" if credentials else ""}; {tls} {more}
            location / {{ {location} }}
          }}
        }}""")
    Program(case, name, ["/usr/sbin/nginx", "-e", "stderr", "-c", config, "-p",
                         case.folder]).start().wait_for_port(port)
    return port


def apache(case, credentials=None, name="apache", more=""):
    """Apache: GET on case.folder/"www", over TLS with `credentials`. `more`: directives. Returns the port."""
    port, root = free_port(), case.folder / "www"
    root.mkdir(exist_ok=True)
    modules = ["mpm_event", "authz_core", "dir", "alias", "headers", *(["ssl"] if credentials else [])]
    lines = [f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so" for module in modules]
    if credentials:
        lines += ["SSLEngine on", f"SSLCertificateFile {credentials.certificate}",
                  f"SSLCertificateKeyFile {credentials.private_key}"]
    config = case.folder / f"{name}.conf"
    config.write_text("\n".join([*lines, f"""
ServerRoot {case.folder}
ServerName {name}.internal
Listen 127.0.0.1:{port}
PidFile {case.folder}/{name}.pid
DefaultRuntimeDir {case.folder}
ErrorLog /dev/stderr
{"User www-data" if AS_ROOT else ""}
{"Group www-data" if AS_ROOT else ""}
DocumentRoot {root}
<Directory {root}>
  Require all granted
</Directory>
{more}
"""]))
    Program(case, name, ["/usr/sbin/apache2", "-D", "FOREGROUND", "-f", config]).start().wait_for_port(port)
    return port
