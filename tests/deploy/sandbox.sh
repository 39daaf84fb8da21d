#!/bin/sh
# A container without an engine: ROOT read-only, /tmp in memory, processes of its own, the image's user, no
# capability, no way to new privileges; the host's network.
#
#   sandbox.sh ROOT [-b SOURCE:TARGET[:ro]]... [-e NAME=VALUE]... -- COMMAND...
set -eu
if [ "${SANDBOX:-}" != inside ]; then
    SANDBOX=inside exec unshare --mount --pid --fork --kill-child "$0" "$@"
fi
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
binds="" variables=""
while [ "$1" != -- ]; do
    case $1 in
        -b) binds="$binds $2" ;;
        -e) variables="$variables $2" ;;
        *) exit 2 ;;
    esac
    shift 2
done
shift
# Mount points are made before the root becomes read-only, as an engine does.
for bind in $binds; do
    source=${bind%%:*} target=${bind#*:}
    target=$root${target%:ro}
    if [ -d "$source" ]; then mkdir -p "$target"; else mkdir -p "${target%/*}" && touch "$target"; fi
done
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
for bind in $binds; do
    source=${bind%%:*} target=${bind#*:}
    mount --bind "$source" "$root${target%:ro}"
    case $bind in *:ro) mount -o remount,bind,ro "$root${target%:ro}" ;; esac
done
cd /
exec setpriv --no-new-privs chroot --userspec="$USER_GROUP" --groups="" "$root" \
    /usr/bin/env -i -C "$WORKDIR" $variables "$@"
