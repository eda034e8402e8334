{{/* Labels of one kind of process; NetworkPolicies and Services choose pods by them (runtimes/pods/network.py). */}}
{{- define "pupitre.labels" -}}
app.kubernetes.io/name: pupitre
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of what belongs to runtimes, as runtimes/pods/labels.py has them. */}}
{{- define "pupitre.runtime-labels" -}}
app.kubernetes.io/name: pupitre-runtime
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pupitre.namespace" -}}
{{ .Values.kernels.namespace | default (printf "%s-runtimes" .Release.Name) }}
{{- end }}

{{- define "pupitre.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag }}{{ end }}
{{- end }}

{{/* Whether the site has a volume for what people make: not where there is a bucket, unless a claim is named beside it. */}}
{{- define "pupitre.volume" -}}
{{ if or (not .Values.storage.objects) .Values.storage.existingClaim }}yes{{ end }}
{{- end }}

{{- define "pupitre.authority" -}}
{{ .host }}{{ if .root.Values.port }}:{{ .root.Values.port }}{{ end }}
{{- end }}

{{- define "pupitre.scheme" -}}
http{{ if .Values.tls }}s{{ end }}
{{- end }}
