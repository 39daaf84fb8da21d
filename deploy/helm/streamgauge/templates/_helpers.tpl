{{- define "streamgauge.labels" -}}
app.kubernetes.io/name: streamgauge
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "streamgauge.selector" -}}
app.kubernetes.io/name: streamgauge
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: detector
{{- end }}

{{- define "streamgauge.config" -}}
{{ .Values.config | default (.Files.Get "files/streamgauge.toml") }}
{{- end }}

{{- define "streamgauge.claim" -}}
{{ .Values.storage.existingClaim | default .Release.Name }}
{{- end }}
