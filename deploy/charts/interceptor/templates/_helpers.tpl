{{/* The chart's name, as in labels. */}}
{{- define "interceptor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of every object. With what is put behind it (`-uninstall`) it must fit into a label. */}}
{{- define "interceptor.fullname" -}}
{{- $name := include "interceptor.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The name of the daemon's account. */}}
{{- define "interceptor.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "interceptor.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What the API server calls the daemon's account. */}}
{{- define "interceptor.username" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "interceptor.serviceAccountName" .) }}
{{- end }}

{{/* Labels by which pods are found; they can't change in the life of a release. */}}
{{- define "interceptor.selectorLabels" -}}
app.kubernetes.io/name: {{ include "interceptor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "interceptor.labels" -}}
{{- $own := include "interceptor.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- merge $own .Values.commonLabels | toYaml }}
{{- end }}

{{/* Labels of what exists during `helm test` only. Another name: the DaemonSet must not take its pods for its own. */}}
{{- define "interceptor.testLabels" -}}
{{- set (include "interceptor.labels" . | fromYaml) "app.kubernetes.io/name" (printf "%s-test" (include "interceptor.name" . | trunc 53 | trimSuffix "-")) | toYaml }}
{{- end }}

{{/* Labels of what exists during `helm uninstall` only. */}}
{{- define "interceptor.uninstallLabels" -}}
{{- set (include "interceptor.labels" . | fromYaml) "app.kubernetes.io/name" (printf "%s-uninstall" (include "interceptor.name" . | trunc 53 | trimSuffix "-")) | toYaml }}
{{- end }}

{{/* What a container may do that only talks to the API: nothing. */}}
{{- define "interceptor.noRights" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsUser: 65534
runAsGroup: 65534
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The image with tag or digest. */}}
{{- define "interceptor.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The policy file: the values as they are. Absent is what "no limit" is called there. */}}
{{- define "interceptor.policy" -}}
{{- $policy := deepCopy .Values.policy }}
{{- if not $policy.maxTtl }}
{{- $policy = omit $policy "maxTtl" }}
{{- end }}
{{- toYaml $policy }}
{{- end }}

{{/* Where pods go that belong to the daemons: to nodes that have one. */}}
{{- define "interceptor.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
