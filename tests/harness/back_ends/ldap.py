# SPDX-License-Identifier: Apache-2.0
"""An LDAP directory by OpenLDAP's slapd."""

from tests.harness.commands import run
from tests.harness.ports import free_port
from tests.harness.program import Program


def slapd(case, credentials):
    """A directory of 1000 people under dc=example, which cn=admin,dc=example with password "secret" may change. Returns
    two ports: one without TLS, one with TLS."""
    ports, folder = (free_port(), free_port()), case.folder / "slapd"
    (folder / "data").mkdir(parents=True)
    config, entries = folder / "slapd.conf", folder / "entries.ldif"
    config.write_text(f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {credentials.certificate}
TLSCertificateKeyFile {credentials.private_key}
TLSCACertificateFile {credentials.ca}
database mdb
suffix dc=example
rootdn cn=admin,dc=example
rootpw secret
sizelimit unlimited
directory {folder}/data
maxsize 67108864
""")
    people = [f"dn: cn=person {number},dc=example\nobjectClass: person\n"
              f"cn: person {number}\nsn: {number}\ndescription: {'x' * 500}\n" for number in range(1000)]
    entries.write_text("\n".join(["dn: dc=example\nobjectClass: domain\ndc: example\n", *people]))
    run("/usr/sbin/slapadd", "-q", "-f", config, "-l", entries)
    Program(case, "slapd", ["/usr/sbin/slapd", "-d", 0, "-f", config, "-h",
                            f"ldap://127.0.0.1:{ports[0]}/ ldaps://127.0.0.1:{ports[1]}/"]
            ).start().wait_for_port(ports[1], 30)
    return ports
