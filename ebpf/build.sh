#!/usr/bin/env bash
# Builds the XDP programs from ebpf/prog.
#
#   ebpf/build.sh            rebuild and compare with the committed object (exit 1 if they differ, 2 if it cannot be built)
#   ebpf/build.sh --update   rebuild and replace the committed object, its disassembly and the record of its toolchain
#
# Two toolchains, chosen by SIPSEC_BPF_TOOLCHAIN:
#   debian   (default where apt-get exists) Debian's rustc-web with its prebuilt `core` for BPF, unpacked under target/,
#            nothing is installed. The committed object is made with this one.
#   nightly  rustup's nightly with rust-src: the ordinary route on developers' machines.
# Another compiler makes other bytes of the same program, so the comparison is made only when the compiler and the linker
# are those recorded in ebpf/sipsec-xdp.toolchain; otherwise the script says so and the tests of this crate judge the
# new object (use --update, then `cargo test -p sipsec-ebpf`).
set -euo pipefail
cd "$(dirname "$0")"

LINKER_VERSION=0.10.3
WORK=$(cd .. && pwd)/target/bpf
BUILT=$WORK/sipsec-xdp.o
mkdir -p "$WORK"

die() { echo "ebpf/build.sh: $*" >&2; exit 2; }
need() { command -v "$1" >/dev/null || die "$1 is missing: $2"; }

need cargo "install Rust 1.95 or newer from https://rustup.rs"
need llvm-strip "apt-get install llvm"
need llvm-objdump "apt-get install llvm"

if [ ! -x "$WORK/root/bin/bpf-linker" ]; then
    # Without optimisation it takes half as long to build and makes the same object.
    cargo install bpf-linker --debug --version "$LINKER_VERSION" --locked --root "$WORK/root" --target-dir "$WORK/linker" \
        || die "bpf-linker $LINKER_VERSION does not build"
fi

toolchain=${SIPSEC_BPF_TOOLCHAIN:-$(command -v apt-get >/dev/null && echo debian || echo nightly)}
build=(cargo build --release --locked --target bpfel-unknown-none --manifest-path prog/Cargo.toml)
case $toolchain in
debian)
    if [ ! -x "$WORK/rustc/usr/bin/rustc" ]; then
        need dpkg-deb "the debian route needs dpkg; set SIPSEC_BPF_TOOLCHAIN=nightly"
        mkdir -p "$WORK/deb"
        (
            cd "$WORK/deb"
            apt-get download rustc-web libstd-rust-web-dev libstd-rust-web-dev-bpf
            std=$(dpkg-deb -f libstd-rust-web-dev-bpf_*.deb Version | cut -d. -f1,2)
            apt-get download "libstd-rust-web-$std"
            llvm=$(dpkg-deb -f libstd-rust-web-"$std"_*.deb Depends | grep -o 'libllvm[0-9]*' | head -1)
            apt-get download "${llvm:-libllvm22}"
        ) || die "cannot fetch rustc-web (Debian 12 security or newer); set SIPSEC_BPF_TOOLCHAIN=nightly"
        for deb in "$WORK"/deb/*.deb; do dpkg-deb -x "$deb" "$WORK/rustc"; done
    fi
    export LD_LIBRARY_PATH=$WORK/rustc/usr/lib/x86_64-linux-gnu RUSTC=$WORK/rustc/usr/bin/rustc RUSTC_BOOTSTRAP=1
    rustc_version=$("$RUSTC" --version)
    ;;
nightly)
    rustup run nightly rustc --version >/dev/null 2>&1 \
        || die "no nightly: rustup toolchain install nightly --component rust-src"
    build=(rustup run nightly "${build[@]}" -Z build-std=core)
    rustc_version=$(rustup run nightly rustc --version)
    ;;
*) die "SIPSEC_BPF_TOOLCHAIN must be debian or nightly, not $toolchain" ;;
esac

# v2: from v3 on LLVM compares data with data_end as 32-bit values, which the verifier does not take for a bound.
# Paths of this machine do not belong in the object.
cargo fetch --locked --manifest-path prog/Cargo.toml || die "the crates of ebpf/prog cannot be fetched"
flags=(-Clinker="$WORK/root/bin/bpf-linker" -Cpanic=abort -Clink-arg=--btf -Cdebuginfo=2 -Ctarget-cpu=v2
    --remap-path-prefix="$(cd .. && pwd)/"=)
for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags+=(--remap-path-prefix="$registry"=/crates)
done
CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}")
CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}
export CARGO_ENCODED_RUSTFLAGS
# bpf-linker reads bitcode of its own compiler's LLVM; it must not see the other compiler's libraries.
CARGO_TARGET_DIR=$WORK/prog "${build[@]}" || die "ebpf/prog does not build"
cp "$WORK/prog/bpfel-unknown-none/release/sipsec-xdp" "$BUILT"
llvm-strip --strip-debug "$BUILT" # keeps .BTF and .BTF.ext
record="$rustc_version, bpf-linker $LINKER_VERSION"

if [ "${1:-}" = --update ]; then
    cp "$BUILT" sipsec-xdp.o
    llvm-objdump --disassemble --no-show-raw-insn "$BUILT" | sed '1,/file format/d' > sipsec-xdp.s
    echo "$record" > sipsec-xdp.toolchain
    echo "ebpf/build.sh: updated sipsec-xdp.o ($(stat -c %s sipsec-xdp.o) bytes, $record)"
elif [ "$record" != "$(cat sipsec-xdp.toolchain)" ]; then
    echo "ebpf/build.sh: built, not compared: this is $record, the committed object is of $(cat sipsec-xdp.toolchain)"
elif cmp "$BUILT" sipsec-xdp.o; then
    echo "ebpf/build.sh: the committed object is what the source makes"
else
    echo "ebpf/build.sh: sipsec-xdp.o is not what ebpf/prog makes: run ebpf/build.sh --update and commit" >&2
    exit 1
fi
