# shellcheck shell=bash
# Sourced by the other scripts: where things are, and the few words all of them speak.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Set and relative, it is so to where the script was called.
[[ -z ${CARGO_TARGET_DIR:-} ]] || CARGO_TARGET_DIR=$(realpath -m "$CARGO_TARGET_DIR")
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
# rustup installs here, and a shell that was open before does not know it yet; sudo forgets it.
PATH=$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin
export ROOT TARGET PATH

say() { printf '== %s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# cargo in the repository: from elsewhere it would not find .cargo/config.toml.
repo_cargo() { (cd "$ROOT" && cargo "$@"); }

is_root() { [[ $(id -u) -eq 0 ]]; }

# True where a command can be run as root: we are root, or sudo asks nothing, or somebody is there to answer it.
can_be_root() {
    is_root || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; }
}

as_root() {
    if is_root; then "$@"; else sudo "$@"; fi
}
