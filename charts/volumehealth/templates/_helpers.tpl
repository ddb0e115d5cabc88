{{/* The labels of every object. */}}
{{- define "volumehealth.labels" -}}
app.kubernetes.io/part-of: volumehealth
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ toYaml .Release.Name }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The image of every container: a digest wins over a tag, and the default tag is the chart's appVersion. */}}
{{- define "volumehealth.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The namespace of the agents: their Pods need more than the operator's namespace has to allow. */}}
{{- define "volumehealth.agentNamespace" -}}
{{ .Values.agent.namespace.name }}
{{- end }}

{{/* The Pod Security Standard that the operator's Pods meet: a node's network, or a directory of it, takes all rights. */}}
{{- define "volumehealth.operatorStandard" -}}
{{- $wide := .Values.operator.hostNetwork }}
{{- range .Values.operator.extraVolumes }}{{ if hasKey . "hostPath" }}{{ $wide = true }}{{ end }}{{ end }}
{{- if $wide }}privileged{{ else }}restricted{{ end }}
{{- end }}

{{/*
The metadata of an object of volumehealth.dev that is part of the release. Helm refuses a release with kinds that the
cluster does not serve yet, so at the very first installation such objects are made after the CRDs, by a hook that names
the release as their owner; the next upgrade finds them as its own. They are kept, because a rollback to the first
revision would remove them otherwise.
*/}}
{{- define "volumehealth.apiObjectAnnotations" -}}
helm.sh/resource-policy: keep
{{- if not (.Capabilities.APIVersions.Has "volumehealth.dev/v1alpha1") }}
helm.sh/hook: post-install
helm.sh/hook-delete-policy: hook-failed
meta.helm.sh/release-name: {{ toYaml .Release.Name }}
meta.helm.sh/release-namespace: {{ toYaml .Release.Namespace }}
{{- end }}
{{- end }}

{{/* Not empty if some driver's controller shall get its agent by admission, and the cluster can do that. */}}
{{- define "volumehealth.injects" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- range .Values.controllerAgents }}{{ if .inject }}yes{{ end }}{{ end }}
{{- end }}
{{- end }}

{{/* Not empty if the agent's extra mounts have the directory that is mounted by default: the API server refuses it twice. */}}
{{- define "volumehealth.bringsCsiPlugins" -}}
{{- $directory := printf "%s/csi-plugins" .Values.kubeletDir }}
{{- range .Values.agent.extraVolumeMounts }}{{ if eq (toString .mountPath | trimSuffix "/") $directory }}yes{{ end }}{{ end }}
{{- end }}
