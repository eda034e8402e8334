{{/* What the schema cannot see: values that do not go together, refused with what to do. */}}
{{- define "pupitre.refuse" -}}
{{- $v := .Values }}
{{- if not $v.host }}{{ fail "host is empty: set it to the host of the pages, such as learn.example." }}{{ end }}
{{- if not $v.notebookDomain }}{{ fail "notebookDomain is empty: set it to a domain of its own for notebooks, such as notebooks.example." }}{{ end }}
{{- if or (eq $v.host $v.notebookDomain) (hasSuffix (printf ".%s" $v.notebookDomain) $v.host) }}
{{- fail (printf "host %s lies below notebookDomain %s: a notebook could read the pages' cookies. Take another registrable domain for notebooks." $v.host $v.notebookDomain) }}
{{- end }}
{{- if and (not $v.tls) (not (has $v.host (list "127.0.0.1" "localhost"))) }}
{{- fail (printf "tls is false and host is %s: people would sign in without encryption. Set tls to true, or host to 127.0.0.1." $v.host) }}
{{- end }}
{{- if not $v.image.repository }}{{ fail "image.repository is empty: build deploy/images/site and name it." }}{{ end }}
{{- if not (or $v.image.tag $v.image.digest) }}{{ fail "image.tag and image.digest are empty: say which image, best by its digest." }}{{ end }}
{{- if not $v.existingSecret }}{{ fail "existingSecret is empty: make a Secret with DATABASE_URL, REDIS_URL, SECRET_KEY and MASTER_KEY and name it." }}{{ end }}
{{- range $name, $value := $v.settings }}
{{- if has $name (list "DATABASE_URL" "REDIS_URL" "SECRET_KEY" "MASTER_KEY" "METRICS_TOKEN" "EMAIL_HOST_PASSWORD" "GOOGLE_CLIENT_SECRET") }}
{{- fail (printf "settings.%s is a secret: put it into the Secret %s." $name $v.existingSecret) }}
{{- end }}
{{- if hasKey (include "pupitre.own-settings" $ | fromYaml) $name }}
{{- fail (printf "settings.%s is set by the chart: see the value for it in values.yaml." $name) }}
{{- end }}
{{- end }}
{{- if and $v.kernels.index.url (not (and $v.kernels.index.namespace $v.kernels.index.labels)) }}
{{- fail "kernels.index.url is set, so kernels.index.namespace and kernels.index.labels must name the mirror's pods: nothing else may be reached." }}
{{- end }}
{{- if eq (include "pupitre.namespace" .) .Release.Namespace }}
{{- fail (printf "kernels.namespace is %s, where the site itself is: runtimes need a namespace that has nothing else." .Release.Namespace) }}
{{- end }}
{{- if and $v.storage.identity (not $v.storage.objects) }}
{{- fail "storage.identity is set and storage.objects is empty: name the bucket that the identity may use." }}
{{- end }}
{{- if not (or (include "pupitre.volume" .) $v.settings.EMAIL_HOST) }}
{{- fail "storage.objects is set without settings.EMAIL_HOST: letters would be files of pods that go. Name a mail server, or in storage.existingClaim a volume for them." }}
{{- end }}
{{- $machines := dict }}
{{- range $v.machines }}
{{- if hasKey $machines .slug }}{{ fail (printf "machines: there are two of the slug %s: name one otherwise." .slug) }}{{ end }}
{{- $_ := set $machines .slug . }}
{{- end }}
{{- range $v.machines }}
{{- if not (or .image $v.kernels.image) }}
{{- fail (printf "machines: %s has no image, and kernels.image is empty: build deploy/images/kernel and name it there by its digest." .slug) }}
{{- end }}
{{- if and .gpu .tpu }}{{ fail (printf "machines: %s has gpu and tpu: make two machines of it." .slug) }}{{ end }}
{{- $resource := ternary "google.com/tpu" "nvidia.com/gpu" (gt (int .tpu) 0) }}
{{- $count := add (int .gpu) (int .tpu) | int }}
{{- $most := $v.kernels.quota.accelerators }}
{{- if and (hasKey $most $resource) (gt $count (int (index $most $resource))) }}
{{- fail (printf "machines: %s takes %d of %s, and kernels.quota.accelerators has %d: it would never start." .slug $count $resource (int (index $most $resource))) }}
{{- end }}
{{- with .fallback }}
{{- $other := get $machines . | default dict }}
{{- if or $other.gpu $other.tpu }}{{ fail (printf "machines: %s is a fallback and has a GPU or TPU itself: name a machine without." .) }}{{ end }}
{{- end }}
{{- if and .retired (or .warm .timetable) }}{{ fail (printf "machines: %s is retired: none is kept ready, take warm and timetable away." .slug) }}{{ end }}
{{- end }}
{{- if and (eq $v.storage.accessMode "ReadWriteOnce") (include "pupitre.volume" .) (not $v.storage.existingClaim) (gt (int $v.site.replicas) 1) }}
{{- fail "storage.accessMode is ReadWriteOnce with several site pods: take ReadWriteMany, or site.replicas 1 and one node." }}
{{- end }}
{{- end }}
