# SPDX-License-Identifier: Apache-2.0
"""What the API server was asked, by its audit log; and what an account may ask, by its roles: both as sets of the same shape."""

import dataclasses
import json
import pathlib

POLICY = pathlib.Path(__file__).resolve().parent / "audit-policy.yaml"
ARGUMENTS = [f"--audit-policy-file={POLICY}", "--audit-log-path=audit.log"]  # of ApiServer, in whose folder the log is


@dataclasses.dataclass(frozen=True, order=True)
class Right:
    """One thing to ask. Of a rule: an empty name is every name, an empty namespace every one."""
    verb: str
    group: str
    resource: str  # "servicemappings/status"
    namespace: str = ""
    name: str = ""

    def covers(self, asked):
        return ((self.verb, self.group, self.resource) == (asked.verb, asked.group, asked.resource)
                and self.namespace in ("", asked.namespace) and self.name in ("", asked.name))


@dataclasses.dataclass(frozen=True)
class Request:
    right: Right
    status: int
    uri: str


def requests_of(api, service_account, since=0):
    """All that this account ("namespace:name") asked, from a byte of the log on."""
    found = []
    for line in (api.folder / "audit.log").read_bytes()[since:].splitlines():
        event = json.loads(line)
        if event["user"].get("username") != f"system:serviceaccount:{service_account}":
            continue
        what = event.get("objectRef", {})
        resource = "/".join(filter(None, (what.get("resource", ""), what.get("subresource"))))
        right = Right(event["verb"], what.get("apiGroup", ""), resource, what.get("namespace", ""), what.get("name", ""))
        found.append(Request(right, event.get("responseStatus", {}).get("code", 0), event["requestURI"]))
    return found


def position(api):
    """Where the log ends now."""
    return (api.folder / "audit.log").stat().st_size


def rights_of(api, service_account):
    """All that this account may by roles that are bound to it, as the API server has them."""
    def objects(resource):
        return json.loads(api.kubectl("get", resource, "--all-namespaces", "--output=json"))["items"]

    space, name = service_account.split(":")
    rules = {(role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]): role["rules"]
             for role in objects("roles") + objects("clusterroles")}
    rights = set()
    for binding in objects("rolebindings") + objects("clusterrolebindings"):
        if not any((subject["kind"], subject.get("namespace"), subject["name"]) == ("ServiceAccount", space, name)
                   for subject in binding.get("subjects", [])):
            continue
        where, role = binding["metadata"].get("namespace", ""), binding["roleRef"]
        for rule in rules[role["kind"], where if role["kind"] == "Role" else "", role["name"]]:
            if "nonResourceURLs" in rule:
                raise AssertionError(f"a rule for URLs: {rule}")
            rights |= {Right(verb, group, resource, where, each) for verb in rule["verbs"] for group in rule["apiGroups"]
                       for resource in rule["resources"] for each in rule.get("resourceNames", [""])}
    return rights
