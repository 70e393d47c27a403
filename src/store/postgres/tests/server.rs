//! A PostgreSQL server for the tests of this process. It runs under an account of its own, because it refuses root,
//! and ends with the process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_postgres::{Config, NoTls};

/// Starts the server in `$1`, with the programs in `$2`, says so, and ends it with the input.
const SCRIPT: &str = r#"
    set -eu
    as=; owner=$(id -un)
    if [ "$(id -u)" = 0 ]; then
        as="setpriv --reuid=postgres --regid=postgres --clear-groups"
        chown postgres "$1"
    fi
    $as "$2/initdb" -D "$1/data" -U shim -A trust -N -E UTF8 --locale=C >"$1/log" 2>&1 || { cat "$1/log" >&2; exit 1; }
    $as "$2/postgres" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off -c max_connections=300 \
        >>"$1/log" 2>&1 &
    server=$!
    until "$2/pg_isready" -q -h "$1"; do kill -0 $server || { cat "$1/log" >&2; exit 1; }; sleep 0.05; done
    echo ready
    read -r _ || true
    kill -QUIT $server
    wait $server || true
    rm -rf "$1"
"#;

/// A server, which ends when this is dropped.
pub(super) struct Server {
    directory: PathBuf,
    script: Child,
    /// The server ends when this is closed.
    input: Option<ChildStdin>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.script.wait();
    }
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Returns the way to a new database.
pub fn database() -> Config {
    SERVER.get_or_init(Server::start).database()
}

impl Server {
    /// Returns the way to a new database on this server.
    pub(super) fn database(&self) -> Config {
        let name = format!("shim{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut config = Config::new();
        config.host_path(&self.directory).user("shim").dbname("postgres");
        execute(&config, &format!("CREATE DATABASE {name}"));
        config.dbname(name);
        config
    }
}

/// Runs a statement on a connection of its own.
pub fn execute(config: &Config, sql: &str) {
    let (config, sql) = (config.clone(), sql.to_owned());
    // The caller may be on a runtime, on which nothing may block.
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            let driving = tokio::spawn(connection);
            client.batch_execute(&sql).await.unwrap();
            drop(client);
            driving.await.unwrap().unwrap();
        });
    });
    running.join().unwrap();
}

impl Server {
    /// Starts a server.
    pub(super) fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("shim-pg-").tempdir().unwrap().keep();
        let programs = programs().expect("the tests need PostgreSQL 14 or newer (package postgresql)");
        let mut script = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .args([&directory, &programs])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the server does not start");
        let input = script.stdin.take();
        Self { directory, script, input }
    }
}

/// Returns the directory of the newest server's programs, which Debian keeps out of the PATH.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number =
        |version: &std::fs::DirEntry| version.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
    let newest = versions.filter(|version| version.path().join("bin/postgres").exists()).max_by_key(number);
    let in_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|directory| directory.join("postgres").exists())
    };
    newest.map(|version| version.path().join("bin")).or_else(in_path)
}
