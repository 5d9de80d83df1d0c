{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{/* Short enough that pods' names, which add a ReplicaSet's hash and five letters, are valid host names (63). */}}
{{- define "culvert.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 38 | trimSuffix "-" -}}
{{- end }}

{{- define "culvert.server" -}}
{{ include "culvert.fullname" . }}-server
{{- end }}

{{- define "culvert.tunnel" -}}
{{ .Values.service.tunnel.name | default (printf "%s-tunnel" (include "culvert.fullname" .)) }}
{{- end }}

{{- define "culvert.tlsSecret" -}}
{{ .Values.tls.secretName | default (printf "%s-tls" (include "culvert.fullname" .)) }}
{{- end }}

{{- define "culvert.authoritySecret" -}}
{{ .Values.enrolment.authority.secretName | default (printf "%s-authority" (include "culvert.fullname" .)) }}
{{- end }}

{{- define "culvert.selector" -}}
app.kubernetes.io/name: culvert
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{- define "culvert.labels" -}}
{{ include "culvert.selector" . }}
app.kubernetes.io/part-of: culvert
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "culvert.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "culvert.clusterDomain" -}}
{{ dig "cluster_domain" "cluster.local" (.Values.config.kubernetes | default dict) }}
{{- end }}

{{/* The address that agents dial, host and port. */}}
{{- define "culvert.externalAddress" -}}
{{- if .Values.external.host -}}
{{ .Values.external.host }}:{{ .Values.external.port }}
{{- else -}}
{{ include "culvert.tunnel" . }}.{{ .Release.Namespace }}.svc.{{ include "culvert.clusterDomain" . }}:8042
{{- end -}}
{{- end }}

{{/* Peers of a NetworkPolicy: the pods of these namespaces. */}}
{{- define "culvert.podsOf" -}}
{{- if has "*" . -}}
- namespaceSelector: {}
{{- else -}}
- namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end -}}
{{- end }}

{{/* A value in TOML. In Helm 3 numbers of values.yaml are floats; the server's numbers are all integers. */}}
{{- define "culvert.toml.value" -}}
{{- if kindIs "slice" . -}}
[{{ range $i, $each := . }}{{ if $i }}, {{ end }}{{ include "culvert.toml.value" $each }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{- range $i, $key := keys . | sortAlpha }}{{ if $i }},{{ end }} {{ $key }} = {{ include "culvert.toml.value" (get $ $key) }}{{ end }} }
{{- else if or (kindIs "string" .) (kindIs "bool" .) -}}
{{ toJson . }}
{{- else -}}
{{ int64 . }}
{{- end -}}
{{- end }}

{{/* A table, given as a list: its heading, its keys, and the prefix of the names of its lists of tables. */}}
{{- define "culvert.toml.table" }}
{{- $heading := index . 0 }}{{ $table := index . 1 }}{{ $within := index . 2 }}

{{ $heading }}
{{- range $key := keys $table | sortAlpha }}{{ $value := get $table $key }}
{{- if not (or (kindIs "invalid" $value) (and (kindIs "slice" $value) (or (empty $value) (kindIs "map" (first $value))))) }}
{{ $key }} = {{ include "culvert.toml.value" $value }}
{{- end }}{{ end }}
{{- range $key := keys $table | sortAlpha }}{{ $value := get $table $key }}
{{- if kindIs "slice" $value }}{{ range $value }}{{ if kindIs "map" . }}
{{- include "culvert.toml.table" (list (printf "[[%s.%s]]" $within $key) . "") }}
{{- end }}{{ end }}{{ end }}{{ end }}
{{- end }}

{{/* server.toml: .Values.config, and values that the chart determines. */}}
{{- define "culvert.serverToml" -}}
{{- $config := deepCopy .Values.config -}}
{{- $at := .Values.bindAddress -}}
{{- $_ := set $config "tunnel" (merge (dict "listen" (printf "%s:8042" $at) "certificate" "tls/tls.crt" "private_key" "tls/tls.key"
      "client_ca" "tls/ca.crt") $config.tunnel) -}}
{{- if $config.kubernetes -}}
{{- $_ := set $config "kubernetes" (merge (dict "external_address" (include "culvert.externalAddress" .)
      "replicas_service" (printf "%s-replicas" (include "culvert.fullname" .))) $config.kubernetes) -}}
{{- end -}}
{{- if $config.on_premise_services -}}
{{- $_ := set $config "on_premise_services" (merge (dict "listen" (printf "%s:%s" $at .Values.onPremisePorts)) $config.on_premise_services) -}}
{{- end -}}
{{- with .Values.enrolment -}}
{{- if .enabled -}}
{{- $ours := dict "authority_certificate" "authority/tls.crt" "addresses" (.addresses | default (list (include "culvert.externalAddress" $))) -}}
{{- if .issuer.name -}}{{- $_ := set $ours "issuer" .issuer -}}{{- else -}}{{- $_ := set $ours "authority_key" "authority/tls.key" -}}{{- end -}}
{{- $_ := set $config "enrolment" (merge $ours ($config.enrolment | default dict)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.gateway.enabled -}}
{{- $ours := dict "listen" (printf "%s:8080" $at) "listen_entries" (printf "%s:8082" $at) "listen_health" (printf "%s:8081" $at)
      "allow_from" .Values.gateway.allowFrom -}}
{{- if .Values.gateway.destinations -}}
{{- $_ := set $ours "destination_ports" (printf "%s:%s" $at .Values.gateway.destinationPorts) -}}
{{- end -}}
{{- $_ := set $config "gateway" (merge $ours ($config.gateway | default dict)) -}}
{{- end -}}
{{- if $config.http_proxy -}}{{- $_ := set $config.http_proxy "listen" (printf "%s:20003" $at) -}}{{- end -}}
{{- if $config.socks5_proxy -}}{{- $_ := set $config.socks5_proxy "listen" (printf "%s:20004" $at) -}}{{- end -}}
{{- $_ := set $config.metrics "listen" (printf "%s:9494" $at) -}}
{{- $_ := set $config "limits" (merge (dict "drain_time" (printf "%ds" (int64 .Values.drainSeconds))) ($config.limits | default dict)) -}}
# Made by the Helm chart; a change here lasts until its next upgrade.
{{- range $name := list "tunnel" "enrolment" "kubernetes" "on_premise_services" "http_proxy" "socks5_proxy" "gateway" "metrics" "deny" "log" "limits" }}
{{- with get $config $name }}{{ include "culvert.toml.table" (list (printf "[%s]" $name) . $name) }}{{ end }}
{{- end }}
{{- range $config.service_mapping }}{{ include "culvert.toml.table" (list "[[service_mapping]]" . "") }}{{ end }}
{{ end }}

{{/* Fails with a reason if the values contradict each other. */}}
{{- define "culvert.check" -}}
{{- if eq .Values.image.tag "latest" -}}
{{- fail "image.tag is latest, which does not say what runs: name a version, or a digest" -}}
{{- end -}}
{{- if and (gt (int (.Values.replicas | default 1)) 1) (not .Values.config.kubernetes) -}}
{{- fail "several replicas without config.kubernetes: agents would reach only one of them" -}}
{{- end -}}
{{- with .Values.config.http_proxy -}}
{{- if not (or .allow_from .issuer .trust) -}}
{{- fail "config.http_proxy is open to nobody: set allow_from to the networks of your pods, or add an issuer of tokens" -}}
{{- end -}}
{{- end -}}
{{- with .Values.config.socks5_proxy -}}
{{- if not .allow_from -}}
{{- fail "config.socks5_proxy is open to nobody: set allow_from to the networks of your pods" -}}
{{- end -}}
{{- end -}}
{{- with .Values.config.on_premise_services -}}
{{- if not .allow_from -}}
{{- fail "config.on_premise_services is open to nobody: set allow_from to the networks of your pods" -}}
{{- end -}}
{{- if not $.Values.config.kubernetes -}}
{{- fail "config.on_premise_services needs config.kubernetes, since the objects are in the cluster" -}}
{{- end -}}
{{- end -}}
{{- with .Values.gateway -}}
{{- $config := $.Values.config.gateway | default dict -}}
{{- if and .enabled (not (or .allowFrom $config.issuer $config.trust)) -}}
{{- fail "gateway is open to nobody: set gateway.allowFrom to the networks of your pods, or add an issuer of tokens" -}}
{{- end -}}
{{- if and $config (not .enabled) -}}
{{- fail "config.gateway is of no use without gateway.enabled=true" -}}
{{- end -}}
{{- if and .destinations (not .enabled) -}}
{{- fail "gateway.destinations is of no use without gateway.enabled=true" -}}
{{- end -}}
{{- if and .enabled (not $.Values.config.kubernetes) -}}
{{- fail "gateway needs config.kubernetes, since the Applications are in the cluster; without a cluster use extraConfig" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.enrolment.enabled (not .Values.config.kubernetes) -}}
{{- fail "enrolment needs config.kubernetes, since the agents are objects in the cluster" -}}
{{- end -}}
{{- if and .Values.config.enrolment (not .Values.enrolment.enabled) -}}
{{- fail "config.enrolment is of no use without enrolment.enabled=true" -}}
{{- end -}}
{{- if and (or .Values.ingress.enabled .Values.istio.gateway.enabled) (not .Values.external.host) -}}
{{- fail "external.host is missing: ingress and Gateway need it as the tunnel's name" -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name is missing" -}}
{{- end -}}
{{- end }}
