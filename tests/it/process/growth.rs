//! The cost of many sites: reading, checking, starting and reloading are linear in their number. The tests
//! count instructions in user space by valgrind instead of measuring time. The step from 2n to 4n sites may
//! cost twice the step from n to 2n. It would cost four times as much if each site required a pass over all
//! sites.

use crate::harness::eventually;
use crate::harness::http::Request;
use crate::harness::site::Site;
use origin_shim::app::App;
use origin_shim::config;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

/// The factor two, and some more for ordered maps.
const GROWTH: f64 = 2.25;
/// The variable with the number of sites of the counted run.
const COUNT: &str = "ORIGIN_SHIM_TEST_SITES";

/// Each site has what a site mostly has, and deserves the warnings that it mostly gets. The CDN of every second one
/// has its API at `port`.
fn configuration(sites: usize, port: u16) -> String {
    let mut text = "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
                    [store]\nurl = \"sqlite::memory:\"\n"
        .to_owned();
    for number in 0..sites {
        let name = format!("s{number}");
        text += &format!(
            "[[admin.tokens]]\nname = \"t{number}\"\ntoken = \"literal:token-of-site-{number:08}\"\nscopes = [\"purge\"]\n\
             sites = [\"{name}\"]\n"
        );
        let api = if number % 2 == 0 { port } else { 1 };
        let cdn = format!(
            "type = \"fastly\"\nservice_id = \"S{number}\"\nauth_token = \"literal:credential-{number}\"\n\
             api_url = \"http://127.0.0.1:{api}\""
        );
        let site =
            Site::named(&name).host(&format!("{name}.example.com")).host(&format!("*.{name}.example.com"));
        let site = site.origin(format!("127.0.0.1:{}", 1_024 + number)).cache("edge_ttl = \"1d\"").cdn(&cdn);
        text += &site.to_string();
    }
    text
}

/// Asserts that the work is linear from `sites` on. `count` returns the instructions for a number of sites.
fn check(what: &str, sites: usize, count: impl Fn(usize) -> i64 + Sync) {
    // The runs are parallel, because the counts do not depend on time.
    let [one, two, four] = thread::scope(|scope| {
        let count = &count;
        let runs = [1, 2, 4].map(|times| scope.spawn(move || count(times * sites)));
        runs.map(|run| run.join().unwrap())
    });
    let ratio = (four - two) as f64 / (two - one) as f64;
    eprintln!("{what}: {one}, {two} and {four} instructions: {ratio:.3}");
    assert!(two > one && ratio < GROWTH, "{what} grows by {ratio} from {two} - {one} to {four} - {two}");
}

#[test]
fn checking_a_configuration_is_linear() {
    check("check", 100, |sites| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("many.toml");
        fs::write(&file, configuration(sites, 1)).unwrap();
        let mut program = Command::new("valgrind");
        program.arg("--tool=callgrind").arg(out(dir.path()));
        program.arg(env!("CARGO_BIN_EXE_origin-shim")).arg("check").arg("--config").arg(&file);
        counted(program, dir.path())
    });
}

#[test]
fn starting_and_reloading_are_linear() {
    check("start and reload", 40, |sites| {
        let dir = tempfile::tempdir().unwrap();
        let mut program = Command::new("valgrind");
        // Only the parts that see all sites are counted, without the time that they wait.
        program.args(["--tool=callgrind", "--collect-atstart=no"]);
        for part in ["Engine::reload", "Routing::compile", "Fingerprint::differences"] {
            program.arg(format!("--toggle-collect=*{part}*"));
        }
        program.arg(out(dir.path())).arg(env::current_exe().unwrap());
        program.args(["--exact", "process::growth::starting_and_reloading", "--ignored", "--test-threads=1"]);
        program.env(COUNT, sites.to_string());
        counted(program, dir.path())
    });
}

#[test]
#[ignore = "is counted by the test above"]
fn starting_and_reloading() {
    let Some(sites) = env::var(COUNT).ok().and_then(|sites| sites.parse().ok()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("many.toml");
    fs::write(&file, configuration(sites, 1)).unwrap();
    let app = App::start_with(config::load(&file).unwrap(), &file).unwrap();
    fs::write(&file, configuration(sites, 2)).unwrap();
    // The workers are running before the first call is answered.
    let admin = app.addresses().admin;
    eventually("it answers", || Request::get("/healthz").try_send(admin).ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reloaded = runtime.block_on(app.reload()).unwrap();
    assert!(!reloaded.changes.is_empty());
    app.stop().unwrap();
}

fn out(dir: &Path) -> String {
    format!("--callgrind-out-file={}", dir.join("out").display())
}

fn counted(mut program: Command, dir: &Path) -> i64 {
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file: PathBuf = dir.join("out");
    let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
    text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().trim().parse().unwrap()
}
