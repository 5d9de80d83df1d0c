# SPDX-License-Identifier: Apache-2.0
"""The requests of an account, from the audit log, and its rights, from its roles, in the same form."""

import dataclasses
import json
import pathlib

POLICY = pathlib.Path(__file__).resolve().parent / "audit-policy.yaml"
ARGUMENTS = [f"--audit-policy-file={POLICY}", "--audit-log-path=audit.log"]  # for ApiServer; the log is in its folder


@dataclasses.dataclass(frozen=True, order=True)
class Right:
    """One kind of request. In a rule, an empty name means every name, and an empty namespace every namespace."""
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
    """All requests of this account ("namespace:name"), from byte `since` of the log on."""
    found = []
    for line in (api.folder / "audit.log").read_bytes()[since:].splitlines():
        event = json.loads(line)
        if event["user"].get("username") != f"system:serviceaccount:{service_account}":
            continue
        what = event.get("objectRef", {})
        resource = "/".join(filter(None, (what.get("resource", ""), what.get("subresource"))))
        right = Right(event["verb"], what.get("apiGroup", ""), resource, what.get("namespace", ""),
                      what.get("name", ""))
        found.append(Request(right, event.get("responseStatus", {}).get("code", 0), event["requestURI"]))
    return found


def position(api):
    """The current size of the log."""
    return (api.folder / "audit.log").stat().st_size


def rights_of(api, service_account):
    """All rights that this account has by the roles bound to it in the API server."""
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
            rights |= {Right(verb, group, resource, where, each) for verb in rule["verbs"]
                       for group in rule["apiGroups"]
                       for resource in rule["resources"] for each in rule.get("resourceNames", [""])}
    return rights
