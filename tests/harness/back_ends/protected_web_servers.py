# SPDX-License-Identifier: Apache-2.0
"""nginx and Apache that serve case.folder/"www" to known clients only: with a password, or with a certificate. Field
X-Client of an answer is who they think it is."""

from tests.harness.back_ends.web_servers import apache, nginx
from tests.harness.commands import run

WEB_SERVERS = ("nginx", "apache")
APACHE_MODULES = "\n".join(f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so"
                           for module in ("authn_core", "authn_file", "auth_basic", "authz_user"))


def with_password(case, kind, username, password, credentials=None, name=None):
    """Basic authentication, over TLS with `credentials`. Returns the port."""
    users = case.folder / f"{name or kind}.htpasswd"
    run("htpasswd", "-bcm", users, username, password)
    users.chmod(0o644)
    if kind == "nginx":
        return nginx(case, credentials, name or kind, more=f"""
            auth_basic test; auth_basic_user_file {users}; add_header X-Client $remote_user always;""")
    return apache(case, credentials, name or kind, more=f"""{APACHE_MODULES}
        <Location />
          AuthType Basic
          AuthName test
          AuthUserFile {users}
          Require valid-user
        </Location>
        Header always set X-Client "expr=%{{REMOTE_USER}}" """)


def with_certificate(case, kind, credentials, client_ca, name=None):
    """TLS with `credentials`, for clients with a certificate of `client_ca`. Returns the port."""
    if kind == "nginx":
        return nginx(case, credentials, name or f"{kind}-mutual", more=f"""
            ssl_client_certificate {client_ca}; ssl_verify_client on; add_header X-Client $ssl_client_s_dn always;""")
    return apache(case, credentials, name or f"{kind}-mutual", more=f"""
        SSLCACertificateFile {client_ca}
        SSLVerifyClient require
        Header always set X-Client "expr=%{{SSL_CLIENT_S_DN}}" """)
