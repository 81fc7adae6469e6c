# shellcheck shell=bash
# Sourced by handshakes: strongSwan with its load-tester, which no Debian package has, built of Debian's own source.

SS=$TARGET/load-tester

# Lists of sources of this machine's Debian, beside its own lists, which stay as they are.
source_lists() {
    local lists=$1/lists parts=$1/parts
    mkdir -p "$lists/partial" "$parts"
    if [[ -e /etc/apt/sources.list.d/debian.sources ]]; then
        sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$parts/debian.sources"
    else
        sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$parts/debian.list"
    fi
    APT=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$parts" -o "Dir::State::lists=$lists"
        -o APT::Sandbox::User=root)
}

build_load_tester() {
    local work=$TARGET/load-tester-build source
    [[ ! -x $SS/libexec/ipsec/load-tester ]] || return 0
    say "building strongSwan with its load-tester (a few minutes, once)"
    mkdir -p "$work"
    cd "$work" || exit
    source_lists "$work"
    apt-get "${APT[@]}" update -qq
    # Debian's patches change nothing that matters here: the upstream archive suffices.
    apt-get "${APT[@]}" source --download-only strongswan || true
    source=$(find . -maxdepth 1 -name 'strongswan_*.orig.tar.*' -not -name '*.asc' | sort -V | tail -n 1)
    [[ -n $source ]] || die "apt has no source of strongSwan"
    mkdir -p strongswan
    tar -xf "$source" -C strongswan --strip-components=1
    cd strongswan || exit
    ./configure --prefix="$SS" --sysconfdir="$SS/etc" --with-piddir=/var/run --disable-gmp --enable-openssl \
        --enable-load-tester --enable-vici --enable-swanctl --disable-systemd >"$work/configure.log"
    make -j"$(nproc)" >"$work/make.log" 2>&1 || die "strongSwan does not build: $work/make.log"
    make install >"$work/install.log" 2>&1
    cd "$ROOT" || exit
    [[ -x $SS/libexec/ipsec/load-tester ]] || die "strongSwan came without load-tester"
    rm -rf "$work"
}
