{{/* The chart's name, as in labels. */}}
{{- define "interceptor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of every object. */}}
{{- define "interceptor.fullname" -}}
{{- $name := include "interceptor.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
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
{{- set (include "interceptor.labels" . | fromYaml) "app.kubernetes.io/name" (printf "%s-test" (include "interceptor.name" .) | trunc 63) | toYaml }}
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

{{/* What the container may do. docs/install.md has the same list for people; the chart's tests hold both to it. */}}
{{- define "interceptor.securityContext" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
# Capabilities that are added reach the processes of root only.
runAsUser: 0
runAsGroup: 0
runAsNonRoot: false
capabilities:
  drop: [ALL]
  add:
    # Load programs, create maps.
    - BPF
    # Attach programs to the network namespaces of pods.
    - NET_ADMIN
    # The verifier then accepts the pointer arithmetic of compiled code.
    - PERFMON
    # Enter the network namespaces of pods to open sockets there (setns). Nothing else.
    - SYS_ADMIN
    {{- if .Values.netns.fromProc }}
    # Open the network namespace of another process by /proc.
    - SYS_PTRACE
    {{- end }}
{{- with .Values.seccompProfile }}
seccompProfile:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.appArmorProfile }}
appArmorProfile:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The only part of the node that the container sees: its pods' network namespaces. */}}
{{- define "interceptor.netnsVolume" -}}
name: netns
hostPath:
  path: {{ .Values.netns.hostPath }}
  # A node that has no pod with a network of its own yet may not have the folder.
  type: DirectoryOrCreate
{{- end }}

{{- define "interceptor.netnsMount" -}}
name: netns
mountPath: /run/netns
# Namespaces of pods that start later appear in the container, and nothing goes the other way.
mountPropagation: HostToContainer
readOnly: true
{{- end }}
