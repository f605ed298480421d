#!/usr/bin/env bash
# Makes a base image from Debian's packages alone, for where no registry of images can be reached:
#
#   docker/bootstrap-base.sh [NAME]      NAME is fabric-base:bookworm unless it is given
#
# What this machine says about proxies, mirrors and who may be trusted goes into the image, so that builds on
# it reach what this machine reaches; nothing of it is written anywhere else. Needs root, debootstrap and docker.
set -euo pipefail

readonly NAME=${1:-fabric-base:bookworm}
readonly SUITE=bookworm
readonly COMPONENT=main
readonly LABEL=org.fabric.base
readonly CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
readonly PACKAGES=ca-certificates,python3,python3-venv

say() { printf '%s\n' "$@" >&2; }

# What the image is made from: when this changes, it is made anew.
recipe() { { cat "${BASH_SOURCE[0]}" && machine_settings; } | sha256sum | cut -d ' ' -f 1; }

# Debian's repositories as this machine is told to reach them: address and suite.
repositories() {
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' "Created-By: Packages" 2>/dev/null \
        | awk -v suite="$SUITE" -v part="$COMPONENT" '$1 == "Debian" && $3 ~ "^" suite && $4 == part {print $2, $3}' \
        | sort -u
}

apt_settings() {
    apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https)::(Proxy|CaInfo|Verify-[A-Za-z]+)( |::)' || true
}

# pip's settings that say where packages come from; folders of this machine are not in the image.
pip_settings() {
    printf '[global]\ndisable-pip-version-check = true\n'
    [[ -z ${PIP_INDEX_URL:-} ]] || printf 'index-url = %s\n' "$PIP_INDEX_URL"
    [[ -z ${PIP_PROXY:-} ]] || printf 'proxy = %s\n' "$PIP_PROXY"
    [[ ! -r /etc/pip.conf ]] || grep -E '^(index-url|extra-index-url|proxy|trusted-host) *=' /etc/pip.conf \
        | grep -v 'file:' || true
    printf 'cert = %s\n' "$CERTIFICATES"
}

trusted() { printf '%s' "${SSL_CERT_FILE:-$CERTIFICATES}"; }

machine_settings() {
    repositories
    apt_settings
    pip_settings
    cat "$(trusted)" 2>/dev/null || true
}

is_current() {
    local made_from
    made_from=$(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$NAME" 2>/dev/null) || return 1
    [[ $made_from == "$(recipe)" ]]
}

fill() {
    local root=$1 mirror
    mirror=$(repositories | awk -v suite="$SUITE" '$2 == suite {print $1; exit}')
    # shellcheck disable=SC2086 # without a mirror there is no word
    debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$root" $mirror
    repositories | while read -r address suite; do
        printf 'deb %s %s %s\n' "$address" "$suite" "$COMPONENT"
    done >"$root/etc/apt/sources.list.d/machine.list"
    [[ ! -s $root/etc/apt/sources.list.d/machine.list ]] || : >"$root/etc/apt/sources.list"
    apt_settings >"$root/etc/apt/apt.conf.d/80machine"
    pip_settings >"$root/etc/pip.conf"
    [[ ! -r $(trusted) ]] || install -m 644 "$(trusted)" "$root$CERTIFICATES"
    slim "$root"
}

# Nobody reads manuals in a container: neither these nor those of packages that come later. Licences stay.
# And nothing starts because it is installed.
slim() {
    local root=$1
    {
        printf 'path-exclude /usr/share/%s/*\n' doc man info locale lintian
        printf 'path-include /usr/share/doc/*/copyright\n'
    } >"$root/etc/dpkg/dpkg.cfg.d/slim"
    install -m 755 /dev/stdin "$root/usr/sbin/policy-rc.d" <<<$'#!/bin/sh\nexit 101'
    find "$root/usr/share/doc" -type f ! -name copyright -delete
    printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n' >"$root/etc/apt/apt.conf.d/80slim"
    rm -rf "$root"/usr/share/{man,info,locale,lintian}/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* \
        "$root"/var/log/*.log "$root"/var/cache/debconf/*-old
}

# Nothing stays, also when it was stopped half way: then debootstrap may have left its mounts.
clear_up() {
    local mount
    for mount in "$root"/{proc,sys,dev/pts,dev}; do
        ! mountpoint -q "$mount" || umount "$mount" || true
    done
    rm -rf --one-file-system "$root"
}

main() {
    local image
    if is_current; then
        say "The base image $NAME is there already."
        return
    fi
    root=$(mktemp -d)
    trap clear_up EXIT
    trap 'exit 130' INT TERM
    fill "$root"
    # Named last: a run that failed leaves no image that looks finished.
    image=$(tar -C "$root" --numeric-owner -c . | docker import --change 'CMD ["bash"]' \
        --change "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8" \
        --change "LABEL $LABEL=$(recipe)" -)
    docker tag "$image" "$NAME"
    say "The base image $NAME is made."
}

root=""
main
