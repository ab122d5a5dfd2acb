{{- define "secateur.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "secateur.fullname" -}}
{{- $name := include "secateur.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "secateur.selector" -}}
app.kubernetes.io/name: {{ include "secateur.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "secateur.labels" -}}
{{ include "secateur.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Of each object; more labels may follow it. */ -}}
{{- define "secateur.metadata" -}}
name: {{ include "secateur.fullname" . }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "secateur.labels" . | nindent 2 }}
{{- end }}

{{- define "secateur.image" -}}
{{- $tag := .Values.image.tag | default (printf "%s-%s" .Chart.AppVersion (ternary "gpu" "cpu" (gt (int .Values.gpu.count) 0))) }}
{{- .Values.image.repository }}{{ ternary (printf "@%s" .Values.image.digest) (printf ":%s" $tag) (ne .Values.image.digest "") }}
{{- end }}

{{- /* What the service is told: the chart's own settings, then the user's. */ -}}
{{- define "secateur.settings" -}}
{{- $own := dict "host" "0.0.0.0" "port" 8080 }}
{{- if .Values.gpu.count }}{{ $_ := set $own "device" "cuda" }}{{ end }}
{{- if or .Values.modelVolume.claim .Values.modelVolume.image }}{{ $_ := set $own "model" "/models" }}{{ end }}
{{- with .Values.apiKeys }}{{ if .existingSecret }}{{ $_ := set $own "api_keys_file" (printf "/etc/secateur/%s" .key) }}{{ end }}{{ end }}
{{- toJson (mergeOverwrite $own .Values.settings) }}
{{- end }}

{{- /* The port of a URL: `list URL DEFAULT`. */ -}}
{{- define "secateur.port" -}}
{{- regexFind ":[0-9]+$" (urlParse (first .)).host | trimPrefix ":" | default (last . | toString) }}
{{- end }}

{{/* Whether requests need a key: of the chart's Secret, or of a variable that is given by hand. */}}
{{- define "secateur.hasKeys" -}}
{{- $found := .Values.apiKeys.existingSecret }}
{{- range .Values.env }}
{{- if has .name (list "SECATEUR_API_KEYS" "SECATEUR_API_KEYS_FILE") }}
{{- $found = .name }}
{{- end }}
{{- end }}
{{- $found }}
{{- end }}
