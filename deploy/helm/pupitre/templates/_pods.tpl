{{/* Settings that follow from the chart's values. */}}
{{- define "pupitre.own-settings" -}}
DATA_DIR: /srv/pupitre
SITE_ORIGIN: {{ include "pupitre.scheme" . }}://{{ include "pupitre.authority" (dict "root" . "host" .Values.host) }}
NOTEBOOK_ORIGIN: {{ include "pupitre.scheme" . }}://*.{{ include "pupitre.authority" (dict "root" . "host" .Values.notebookDomain) }}
BEHIND_PROXY: {{ ternary "1" "0" .Values.tls | quote }}
PORT: "8000"
WORKERS: {{ .Values.worker.tasks | quote }}
WORK_STORAGE: {{ .Values.storage.objects | quote }}
{{- if not (or (include "pupitre.volume" .) (hasKey .Values.settings "DRIVE_BACKEND")) }}
DRIVE_BACKEND: ""
{{- end }}
RUNTIME_PROVIDER: runtimes.pods.provider.PodsProvider
PODS_NAMESPACE: {{ include "pupitre.namespace" . }}
PODS_SITE_NAMESPACE: {{ .Release.Namespace }}
PODS_SITE: {{ .Release.Name }}
PODS_IMAGE: {{ .Values.kernels.image | quote }}
PODS_INDEX_URL: {{ .Values.kernels.index.url | quote }}
PODS_USER_NAMESPACES: {{ ternary "1" "0" .Values.kernels.userNamespaces | quote }}
PODS_POLICIES_ENFORCED: {{ ternary "1" "0" .Values.kernels.policiesEnforced | quote }}
PODS_ADDS_NODES: {{ ternary "1" "0" .Values.kernels.addsNodes | quote }}
{{- end }}

{{/* A pod's spec. root; component; command; of: its resources and where it runs; files: whether it has what people make;
token: whether it speaks to the cluster; probes, volumes, mounts: YAML; restart, grace. */}}
{{- define "pupitre.pod" -}}
{{- $v := .root.Values -}}
{{- $volume := and .files (include "pupitre.volume" .root) -}}
{{- with $v.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- if .token }}
serviceAccountName: {{ .root.Release.Name }}
{{- else if and .files $v.storage.objects }}
serviceAccountName: {{ .root.Release.Name }}-files
{{- end }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
restartPolicy: {{ .restart | default "Always" }}
terminationGracePeriodSeconds: {{ .grace | default 30 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: {{ .component }}
    image: {{ include "pupitre.image" .root }}
    imagePullPolicy: {{ $v.image.pullPolicy }}
    args: {{ .command | toJson }}
    {{- with .ports }}
    ports: {{ . | toJson }}
    {{- end }}
    env:
      {{- range $name, $value := mergeOverwrite (dict) $v.settings (include "pupitre.own-settings" .root | fromYaml) }}
      - {name: {{ $name }}, value: {{ $value | toString | quote }}}
      {{- end }}
    envFrom:
      - secretRef: {name: {{ $v.existingSecret }}}
    resources: {{ .of.resources | toJson }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    {{- with .probes }}
    {{- . | nindent 4 }}
    {{- end }}
    volumeMounts:
      - {name: own, mountPath: /srv/pupitre}
      - {name: temporary, mountPath: /tmp}
      {{- if $volume }}
      {{- range ternary (list "drive" "mail" "media") (list "drive" "mail" "media" "work") (ne $v.storage.objects "") }}
      - {name: files, mountPath: /srv/pupitre/{{ . }}, subPath: {{ . }}}
      {{- end }}
      {{- end }}
      {{- range .mounts }}
      - {{ . | toJson }}
      {{- end }}
volumes:
  - {name: own, emptyDir: {sizeLimit: 1Gi}}
  - {name: temporary, emptyDir: {sizeLimit: 4Gi}}
  {{- if $volume }}
  - {name: files, persistentVolumeClaim: {claimName: {{ $v.storage.existingClaim | default (printf "%s-files" .root.Release.Name) }}}}
  {{- end }}
  {{- range .volumes }}
  - {{ . | toJson }}
  {{- end }}
{{- with .of.nodeSelector }}
nodeSelector: {{ . | toJson }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{ . | toJson }}
{{- end }}
{{- with .of.affinity }}
affinity: {{ . | toJson }}
{{- end }}
{{- end }}

{{/* A Deployment around it. replicas; strategy: YAML. */}}
{{- define "pupitre.deployment" -}}
{{- $labels := include "pupitre.labels" . -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .root.Release.Name }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- $labels | nindent 4 }}
spec:
  replicas: {{ .replicas }}
  revisionHistoryLimit: 3
  strategy: {{ .strategy | toJson }}
  selector:
    matchLabels:
      {{- $labels | nindent 6 }}
  template:
    metadata:
      labels:
        {{- $labels | nindent 8 }}
    spec:
      {{- include "pupitre.pod" . | nindent 6 }}
{{- end }}
