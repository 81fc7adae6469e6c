# shellcheck shell=bash
# Sourced by try and guide: systemd in containers over this machine's file system, under overlays in memory. The caller has
# a mount namespace of its own, so that nobody else sees them.

declare -A NSPAWN=()
MEMORY=$(mktemp -d "${TMPDIR:-/tmp}/portcullis-try.XXXXXX")
mount -t tmpfs tmpfs "$MEMORY"

# eventually SECONDS COMMAND..
eventually() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [[ $SECONDS -lt $until ]] || return 1
        sleep 0.1
    done
}

# lay_root NAME: the file system of a container, without this machine's services and identity.
lay_root() {
    local at=$MEMORY/$1
    mkdir -p "$at"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=/,upperdir=$at/upper,workdir=$at/work" "$at/root"
    rm -rf "$at"/root/etc/systemd/system/*.wants
    : >"$at/root/etc/machine-id"
}

# boot NAME OPTION..: options are those of systemd-nspawn.
boot() {
    local name=$1
    shift
    # DPDK looks for vfio in /sys/module.
    SYSTEMD_NSPAWN_API_VFS_WRITABLE=network systemd-nspawn --quiet --directory="$MEMORY/$name/root" --boot --register=no --keep-unit --console=pipe \
        --capability=CAP_IPC_LOCK,CAP_NET_ADMIN --bind-ro=/sys/module --machine="$name-$$" "$@" -- --unit=multi-user.target \
        </dev/null >"$MEMORY/$name/console" 2>&1 &
    NSPAWN[$name]=$!
    if ! eventually 60 answers "$name"; then
        cat "$MEMORY/$name/console"
        echo "skipped: no systemd in a container here"
        exit 77
    fi
}

# The container's first process is the child of nspawn.
leader() { pgrep -P "${NSPAWN[$1]}" | head -n 1; }
inside() { nsenter --all --target "$(leader "$1")" -- "${@:2}"; }
answers() { [[ $(inside "$1" systemctl is-system-running) =~ ^(running|degraded)$ ]]; }

containers_down() {
    local name
    for name in "${!NSPAWN[@]}"; do
        kill -KILL "$(leader "$name")" "${NSPAWN[$name]}" 2>/dev/null || true
        wait "${NSPAWN[$name]}" 2>/dev/null || true
    done
    umount -l "$MEMORY" && rmdir "$MEMORY"
}
