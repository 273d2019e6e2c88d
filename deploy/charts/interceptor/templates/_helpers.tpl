{{/* The chart's name, as in labels. */}}
{{- define "interceptor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of every object. With a suffix such as `-uninstall` it must fit into a label. */}}
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

{{/* The user name of the daemon's account in the API. */}}
{{- define "interceptor.username" -}}
{{- $account := include "interceptor.serviceAccountName" . }}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace $account }}
{{- end }}

{{/* The same of the Job of `helm uninstall`. */}}
{{- define "interceptor.uninstallUsername" -}}
{{- printf "system:serviceaccount:%s:%s-uninstall" .Release.Namespace (include "interceptor.fullname" .) }}
{{- end }}

{{/* Labels that select the daemon's pods. They can't change during the life of a release. */}}
{{- define "interceptor.selectorLabels" -}}
app.kubernetes.io/name: {{ include "interceptor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "interceptor.labels" -}}
{{- $own := include "interceptor.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- $_ := set $own "helm.sh/chart" ($chart | trunc 63 | trimSuffix "-") }}
{{- merge $own .Values.commonLabels | toYaml }}
{{- end }}

{{/*
Labels of the objects that exist during `helm test` only. Their name is another one, so that the
DaemonSet does not select their pods.
*/}}
{{- define "interceptor.testLabels" -}}
{{- $name := printf "%s-test" (include "interceptor.name" . | trunc 53 | trimSuffix "-") }}
{{- set (include "interceptor.labels" . | fromYaml) "app.kubernetes.io/name" $name | toYaml }}
{{- end }}

{{/* Labels of the objects that exist during `helm uninstall` only. */}}
{{- define "interceptor.uninstallLabels" -}}
{{- $name := printf "%s-uninstall" (include "interceptor.name" . | trunc 53 | trimSuffix "-") }}
{{- set (include "interceptor.labels" . | fromYaml) "app.kubernetes.io/name" $name | toYaml }}
{{- end }}

{{/* The security context of a container that only uses the API: no rights at all. */}}
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

{{/* The policy file: the values as they are. An absent `maxTtl` means "no limit" there. */}}
{{- define "interceptor.policy" -}}
{{- $policy := deepCopy .Values.policy }}
{{- if not $policy.maxTtl }}
{{- $policy = omit $policy "maxTtl" }}
{{- end }}
{{- toYaml $policy }}
{{- end }}

{{/* The placement of the daemons and of the hooks' pods: the nodes that run a daemon. */}}
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
