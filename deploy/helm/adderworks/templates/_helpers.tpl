{{- define "adderworks.name" -}}
{{- if contains "adderworks" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-adderworks" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{/* What a Service or a policy selects by: (list context component). */}}
{{- define "adderworks.selector" -}}
app.kubernetes.io/name: adderworks
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "adderworks.labels" -}}
{{ include "adderworks.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end }}

{{/* (list context suffix) */}}
{{- define "adderworks.image" -}}
{{ (index . 0).Values.image.repository }}:{{ (index . 0).Values.image.tag | default (index . 0).Chart.AppVersion }}{{ index . 1 }}
{{- end }}

{{- define "adderworks.variables" -}}
{{- range $name, $value := . }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{/* Where artifacts are: all pods that touch files. */}}
{{- define "adderworks.artifacts" -}}
# A folder in the volume, whose root belongs to the kubelet: the worker sets the modes of its own.
- {name: ADDER_DATA_DIR, value: /data/adder}
{{- with .Values.artifacts }}
{{- if .url }}
- {name: ADDER_ARTIFACTS_URL, value: {{ .url | quote }}}
{{- with .region }}
- {name: AWS_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
{{- end }}
{{- if .keysInSecret }}
- {name: ADDER_ARTIFACTS_ACCESS_KEY_ID_FILE, value: /run/secrets/adder/artifacts-access-key-id}
- {name: ADDER_ARTIFACTS_SECRET_ACCESS_KEY_FILE, value: /run/secrets/adder/artifacts-secret-access-key}
{{- end }}
{{- end }}
{{- end }}
{{- include "adderworks.variables" .Values.settings }}
{{- end }}

{{/* The database as one of its roles: (list context role key). */}}
{{- define "adderworks.database" -}}
{{- with (index . 0).Values.database }}
- {name: ADDER_DATABASE_HOST, value: {{ .host | quote }}}
- {name: ADDER_DATABASE_PORT, value: {{ .port | quote }}}
- {name: ADDER_DATABASE_NAME, value: {{ .name | quote }}}
{{- end }}
- {name: ADDER_DATABASE_USER, value: {{ index . 1 | quote }}}
- {name: ADDER_DATABASE_PASSWORD_FILE, value: /run/secrets/adder/{{ index . 2 }}}
{{- end }}

{{/* What API and workers reach: the database as the role that owns nothing, the broker, the artifacts. */}}
{{- define "adderworks.stores" -}}
- {name: ADDER_AUTH, value: "on"}
{{ include "adderworks.database" (list . .Values.database.user "database-password") }}
- {name: ADDER_BROKER_HOST, value: {{ .Values.redis.host | quote }}}
- {name: ADDER_BROKER_PORT, value: {{ .Values.redis.port | quote }}}
- {name: ADDER_BROKER_PASSWORD_FILE, value: /run/secrets/adder/redis-password}
{{ include "adderworks.artifacts" . }}
{{- end }}

{{/* The keys of the bucket, where the Secret has them, as a list. */}}
{{- define "adderworks.artifactKeys" -}}
{{- if and .Values.artifacts.url .Values.artifacts.keysInSecret }}["artifacts-access-key-id", "artifacts-secret-access-key"]{{ else }}[]{{ end }}
{{- end }}

{{/* The files of a pod: (list context keys). Group 10001 reads them; the jobs of a worker have not that group. */}}
{{- define "adderworks.secretVolume" -}}
{{- $keys := index . 1 }}
- name: secrets
  secret:
    secretName: {{ (index . 0).Values.secret }}
    defaultMode: 0440
    items:
    {{- range $keys }}
    - {key: {{ . }}, path: {{ . }}}
    {{- end }}
{{- end }}

{{/* Files: (list context size readOnly). With a bucket a folder of the pod's own, else the claim that all share. */}}
{{- define "adderworks.dataVolume" -}}
- name: data
{{- if (index . 0).Values.artifacts.url }}
  emptyDir: {sizeLimit: {{ index . 1 }}}
{{- else }}
  persistentVolumeClaim: {claimName: {{ (index . 0).Values.artifacts.existingClaim }}, readOnly: {{ index . 2 }}}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- end }}

{{- define "adderworks.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "adderworks.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "adderworks.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What the pods of all services have. */}}
{{- define "adderworks.pod" -}}
serviceAccountName: {{ include "adderworks.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "adderworks.pullSecrets" . }}
{{- end }}

{{/* A probe over HTTP: (list seconds failures). The name is one that every service answers to. */}}
{{- define "adderworks.probe" -}}
httpGet: {path: /healthz, port: http, httpHeaders: [{name: Host, value: localhost}]}
periodSeconds: {{ index . 0 }}
timeoutSeconds: 5
failureThreshold: {{ index . 1 }}
{{- end }}
