//! The Debian package: what is in it, and that it can be installed, started, removed and purged. The latter happens
//! on an overlay of this machine, which is thrown away.

use super::{placeholder, read, repository};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_origin-shim");

/// The package with this build of the program, without what only debuggers read.
static PACKAGE: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let dir = TempDir::new().unwrap();
    let package = build(&stripped(dir.path()), dir.path());
    (dir, package)
});

fn stripped(dir: &Path) -> PathBuf {
    let program = dir.join("program");
    run(Command::new("strip").arg("-o").arg(&program).arg(PROGRAM));
    program
}

fn build(program: &Path, target: &Path) -> PathBuf {
    let mut command = Command::new(repository("config/deploy/debian.sh"));
    // The time of a commit would differ from one to the next.
    let said =
        run(command.args([program, target]).envs([("COMPRESSION", "none"), ("SOURCE_DATE_EPOCH", "1")]));
    PathBuf::from(said.trim())
}

/// Runs a command that must succeed; returns its output.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{command:?}: {status}\n{said}\n{}", String::from_utf8_lossy(&stderr));
    said
}

fn unpacked() -> TempDir {
    let dir = TempDir::new().unwrap();
    run(Command::new("dpkg-deb").arg("--extract").args([&PACKAGE.1, dir.path()]));
    dir
}

#[test]
fn the_same_program_gives_the_same_package() {
    let dir = TempDir::new().unwrap();
    let again = build(&stripped(dir.path()), dir.path());
    assert_eq!(again.file_name(), PACKAGE.1.file_name());
    assert!(fs::read(again).unwrap() == fs::read(&PACKAGE.1).unwrap());
}

#[test]
fn it_has_what_belongs_to_the_program() {
    let dir = unpacked();
    let is_there = |path: &str| dir.path().join(path).is_file();
    for path in [
        "usr/bin/origin-shim",
        "usr/lib/systemd/system/origin-shim.service",
        "usr/lib/sysusers.d/origin-shim.conf",
        "usr/share/bash-completion/completions/origin-shim",
        "usr/share/zsh/vendor-completions/_origin-shim",
        "usr/share/fish/vendor_completions.d/origin-shim.fish",
        "usr/share/doc/origin-shim/copyright",
        "usr/share/doc/origin-shim/changelog.gz",
        "usr/share/doc/origin-shim/sbom.cdx.json",
        "usr/share/doc/origin-shim/examples/origin-shim.toml",
        "usr/share/doc/origin-shim/examples/varnish.vcl",
        "usr/share/man/man1/origin-shim.1.gz",
    ] {
        assert!(is_there(path), "{path}");
    }
    // Every command that `--help` names has its page.
    let help = run(Command::new(PROGRAM).arg("--help"));
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(is_there(&format!("usr/share/man/man1/origin-shim-{name}.1.gz")), "{name}");
    }
    let unit = fs::read_to_string(dir.path().join("usr/lib/systemd/system/origin-shim.service")).unwrap();
    assert!(
        unit.contains("\nExecStart=/usr/bin/origin-shim serve ") && !unit.contains("/usr/local"),
        "{unit}"
    );
    // Apart from the place, and from how to install it by hand, it is the unit that is tested.
    let service =
        |text: &str| text.split_once("[Service]").unwrap().1.replace("/usr/local/bin/", "/usr/bin/");
    assert_eq!(service(&unit), service(&read("config/deploy/origin-shim.service")));
}

/// What happens on the overlay, in `$1`, with the package `$2`. Prints what is left of it.
const ON_AN_OVERLAY: &str = r#"
set -eu
cd "$1"
mount -t tmpfs tmpfs .
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount --rbind /proc root/proc
mount --rbind /dev root/dev
mkdir -p root/tmp
cp "$2" root/tmp/package.deb
cp "$3" root/tmp/origin-shim.toml
chroot root sh -eu -c '
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    dpkg -i /tmp/package.deb
    [ "$(dpkg-query -W -f "\${Status}" origin-shim)" = "install ok installed" ]
    dpkg --verify origin-shim
    [ "$(stat -c "%U %G %a" /etc/origin-shim)" = "root origin-shim 750" ]
    origin-shim --version
    origin-shim check --config /usr/share/doc/origin-shim/examples/origin-shim.toml

    install -m 640 -g origin-shim /tmp/origin-shim.toml /etc/origin-shim/
    install -d -m 700 -o origin-shim -g origin-shim /var/lib/origin-shim
    as="setpriv --reuid origin-shim --regid origin-shim --clear-groups --no-new-privs"
    command=$(sed -n "s/^ExecStart=//p" /usr/lib/systemd/system/origin-shim.service)
    $as $command &
    for attempt in $(seq 100); do
        ! $as $command --probe || break
        sleep 0.1
    done
    $as $command --probe
    kill -TERM $!
    wait $!
    [ -f /var/lib/origin-shim/store.db ]

    # Installing it once more is an upgrade, which keeps the configuration.
    dpkg -i /tmp/package.deb
    cmp /tmp/origin-shim.toml /etc/origin-shim/origin-shim.toml

    dpkg -r origin-shim
    [ ! -e /usr/bin/origin-shim ] && [ -e /etc/origin-shim/origin-shim.toml ]
    dpkg -P origin-shim
' >&2
cd upper
find . -mindepth 1 ! -type d ! -path './var/lib/dpkg/*' ! -path './var/log/*' ! -path './var/cache/*' ! -path './tmp/*'
find . -name '*origin-shim*' ! -path './tmp/*'
"#;

#[test]
fn it_is_installed_started_removed_and_purged_and_leaves_only_its_user() {
    let mut as_root = Command::new("unshare");
    if rustix::process::getuid().as_raw() != 0 {
        as_root = Command::new("sudo");
        as_root.args(["-n", "--preserve-env", "unshare"]);
    }
    let dir = TempDir::new().unwrap();
    let probe = "cd \"$1\" && mount -t tmpfs t . && cd \"$1\" && mkdir u w r && mount -t overlay o \
                 -o lowerdir=/,upperdir=u,workdir=w r";
    let mut possible = Command::new(as_root.get_program());
    possible.args(as_root.get_args()).args(["--mount", "sh", "-c", probe, "sh"]).arg(dir.path());
    if !possible.output().is_ok_and(|output| output.status.success()) {
        eprintln!("not checked: this machine lets nobody mount an overlay");
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = dir.path().join("config.toml");
    let text = format!(
        "server = {{ listen = [\"127.0.0.1:0\"] }}\nadmin = {{ listen = \"127.0.0.1:{port}\" }}\n\
         store = {{ url = \"sqlite:/var/lib/origin-shim/store.db\" }}\n\
         sites = [{{ name = \"www\", default = true, origin = \"http://127.0.0.1:9\" }}]\n"
    );
    fs::write(&config, text).unwrap();
    let place = TempDir::new().unwrap();
    as_root.args(["--mount", "sh", "-c", ON_AN_OVERLAY, "sh"]);
    as_root.args([place.path(), &PACKAGE.1, &config]);
    for secret in ["ORIGIN_SHIM_TOKEN", "SHIM_EDGE_SECRET", "FASTLY_TOKEN"] {
        as_root.env(secret, placeholder(secret));
    }
    let left = run(&mut as_root);
    // The user stays on purpose.
    let accounts = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid", ".pwd.lock"];
    let is_account = |path: &str| {
        path.strip_prefix("./etc/").is_some_and(|name| accounts.contains(&name.trim_end_matches('-')))
    };
    let unexpected: Vec<&str> = left.lines().filter(|path| !is_account(path)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}
