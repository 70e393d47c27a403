#!/bin/sh
# Builds the Debian package from a built program, without root: config/deploy/debian.sh PROGRAM DIRECTORY
#
#   cargo build --profile dist --locked
#   config/deploy/debian.sh target/dist/origin-shim .
#   sudo apt-get install ./origin-shim_*.deb
#
# The same program gives the same package, byte for byte. COMPRESSION=none is quicker than xz. Needs dpkg-deb and gzip.
set -eu

program=$(realpath "$1")
target=$(realpath "$2")
cd "$(dirname "$0")/../.."

version=$("$program" --version | cut -d ' ' -f 2)
# Times in the package are that of the commit, or of the licence in an archive of the source.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y LICENSE)}"
export SOURCE_DATE_EPOCH
umask 022
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

put() { # mode file place
    mkdir -p "$root/$(dirname "$3")"
    install -m "$1" "$2" "$root/$3"
}

put 755 "$program" usr/bin/origin-shim
put 644 config/deploy/origin-shim.service usr/lib/systemd/system/origin-shim.service
sed -i -e '1,/^$/{/^#   /d;/^#$/d}' -e 's|/usr/local/bin/|/usr/bin/|' "$root/usr/lib/systemd/system/origin-shim.service"
put 644 config/deploy/sysusers.conf usr/lib/sysusers.d/origin-shim.conf

share=usr/share
doc=$share/doc/origin-shim
for example in config/origin-shim.toml config/varnish.vcl config/schema.json config/deploy/alerts.yaml \
    config/deploy/dashboard.json; do
    put 644 "$example" "$doc/examples/$(basename "$example")"
done
put 644 config/deploy/sbom.cdx.json $doc/sbom.cdx.json
put 644 LICENSE $doc/copyright
put 644 CHANGELOG.md $doc/changelog
gzip -n -9 "$root/$doc/changelog"

mkdir -p "$root/$share/man/man1"
"$program" man "$root/$share/man/man1"
gzip -n -9 "$root/$share"/man/man1/*.1
for completion in bash:bash-completion/completions/origin-shim zsh:zsh/vendor-completions/_origin-shim \
    fish:fish/vendor_completions.d/origin-shim.fish; do
    place=$root/$share/${completion#*:}
    mkdir -p "$(dirname "$place")"
    "$program" completions "${completion%%:*}" > "$place"
done

mkdir -p "$root/DEBIAN"
cat > "$root/DEBIAN/control" <<CONTROL
Package: origin-shim
Version: $version
Section: net
Priority: optional
Architecture: $(dpkg --print-architecture)
Maintainer: Origin Shim
Installed-Size: $(du -k -s --apparent-size "$root" | cut -f 1)
Depends: libc6, libgcc-s1, ca-certificates, passwd
Recommends: systemd
Description: reverse proxy between a CDN and an origin
 Origin Shim lets a CDN keep pages for days and still show every change within
 seconds: it sets long cache lifetimes on responses, and purges exactly the
 pages that changed. It works with Fastly, Akamai, Cloudflare, Amazon
 CloudFront and Varnish.
CONTROL

cat > "$root/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers origin-shim.conf
    elif ! getent passwd origin-shim >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/origin-shim --no-create-home \
            --shell /usr/sbin/nologin origin-shim
    fi
    # Secrets in files are read by the service's group.
    install -d -m 750 -g origin-shim /etc/origin-shim /etc/origin-shim/secrets
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        # A restart hands over without refusing a request. The service is not started before it is configured.
        [ -z "$2" ] || deb-systemd-invoke try-restart origin-shim.service || true
    fi
fi
SCRIPT
cat > "$root/DEBIAN/prerm" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop origin-shim.service || true
fi
SCRIPT
cat > "$root/DEBIAN/postrm" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    # The user stays: what it owned elsewhere must not become another user's.
    rm -rf /etc/origin-shim /var/lib/origin-shim
    rm -f /etc/systemd/system/multi-user.target.wants/origin-shim.service
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
SCRIPT
chmod 755 "$root"/DEBIAN/p*
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum > DEBIAN/md5sums)
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group "-Z${COMPRESSION:-xz}" --build "$root" "$target" >/dev/null
echo "$target/origin-shim_${version}_$(dpkg --print-architecture).deb"
