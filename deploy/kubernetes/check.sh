#!/usr/bin/env bash
# Checks on a real cluster: the API server accepts the manifests, the pods become ready, and a rolling restart under load
# loses no request. Needs kubectl, a file keys.toml, and one of its keys in the variable KEY.
#
#   KEY=... NAMESPACE=odenet-check deploy/kubernetes/check.sh [FOLDER]     FOLDER is deploy/kubernetes/base by default
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-deploy/kubernetes/base}
namespace=${NAMESPACE:-odenet-check}
kubectl=(kubectl --namespace "$namespace")
answers=$(mktemp)

kubectl create namespace "$namespace" --dry-run=client --output yaml | kubectl apply --filename -
"${kubectl[@]}" create secret generic odenet-keys --from-file=keys.toml --dry-run=client --output yaml \
  | "${kubectl[@]}" apply --filename -
"${kubectl[@]}" apply --dry-run=server --kustomize "$folder"
"${kubectl[@]}" apply --kustomize "$folder"
"${kubectl[@]}" rollout status deployment/odenet --timeout 5m

# The load comes from a pod, because kubectl's port-forward stays with one replica.
"${kubectl[@]}" run caller --image "${CURL_IMAGE:-curlimages/curl:8.16.0}" --restart Never --env "KEY=$KEY" \
  --env "SEVEN=$(base64 < docs/digits/seven.png | tr -d '\n')" \
  --command -- sh -c 'while :; do echo "$SEVEN" | base64 -d | curl -s -o /dev/null -w "%{http_code}\n" \
    --data-binary @- -H "Authorization: Bearer $KEY" -H "Content-Type: image/png" http://odenet/predict; done'
trap '"${kubectl[@]}" delete pod caller --ignore-not-found --wait=false' EXIT
"${kubectl[@]}" wait --for condition=Ready pod/caller --timeout 2m
"${kubectl[@]}" rollout restart deployment/odenet
"${kubectl[@]}" rollout status deployment/odenet --timeout 10m
"${kubectl[@]}" logs caller > "$answers"
echo "answers by status:"
sort "$answers" | uniq -c
test -s "$answers"
! grep --quiet --invert-match '^200$' "$answers"
