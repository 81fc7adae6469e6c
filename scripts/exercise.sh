# shellcheck shell=bash
# Sourced by latency and overload: a gateway between two shared-memory ports, and the hosts on both of its sides.

. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"

EXERCISER=$TARGET/release/examples/exerciser
trap 'stop_processes; rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

build_exerciser() {
    "$ROOT/scripts/install" build run
    say "building"
    [[ -n ${PORTCULLIS_BIN:-} ]] || repo_cargo build --release --locked -p portcullis
    repo_cargo build --release --locked -p dpdk --example exerciser
}

# The worker has the last of the cores, the hosts have the first.
cores() { python3 -c 'import os; print(*sorted(os.sched_getaffinity(0)))'; }

# start_gateway [SED]: gateway a, its policy edited by the sed script.
start_gateway() {
    local core tenths
    core=$(cores)
    make_keys
    write_policy a "net_memif0,$(memif server lan)" "net_memif1,$(memif server wan)"
    neighbor 192.0.2.2 02:00:00:00:02:02 wan >>"$WORK/a.toml"
    sed -i -e "s/^\[runtime\]\$/&\ncores = [${core##* }]/" "${@/#/-e}" "$WORK/a.toml"
    : >"$WORK/a.err" # there before it is searched
    "$PORTCULLIS" run --config "$WORK/a.toml" >"$WORK/a.out" 2>"$WORK/a.err" &
    PROCESSES=("$!")
    for ((tenths = 0; tenths < 100; tenths++)); do
        ! grep -q '^portcullis: running' "$WORK/a.err" || return 0
        sleep 0.1
    done
    cat "$WORK/a.err" >&2
    die "the gateway does not start"
}

# The worker goes before other work, where we may: one that waits for its core measures the scheduler.
go_first() {
    local task
    is_root || return 0
    for task in "/proc/${PROCESSES[0]}/task"/*; do
        [[ $(<"$task/comm") != worker-* ]] || chrt --fifo --pid 1 "${task##*/}"
    done
}

# exercise MODE SIZE: one JSON object a line.
exercise() {
    local core
    core=$(cores)
    [[ $core == *' '* ]] || die "takes two cores"
    "$EXERCISER" "$WORK/lan.memif" "$WORK/wan.memif" "${core%% *}" "$@"
}

# show TABLE: of the gateway, as JSON.
show() { "$PORTCULLIS" show --json --socket "$WORK/a.sock" "$1"; }
