//! The command line at night: the real cause in one line, JSON where it was asked for, and exit codes.

use crate::harness::program::{Place, Program};
use crate::harness::shim::program;
use crate::harness::{HOST, free_address, origin};
use serde_json::Value;
use std::fs;

const TOKEN: &str = "the-token-of-the-tests-0123456789";

/// Runs a command line, and returns exit code, stdout and stderr.
fn run(admin: &str, line: &str) -> (Option<i32>, String, String) {
    let mut command = program();
    command.args(line.split_whitespace()).env("ORIGIN_SHIM_ADMIN", admin).env("ORIGIN_SHIM_TOKEN", TOKEN);
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_shim_that_is_down_is_one_line_for_people_and_json_for_machines() {
    let down = free_address().to_string();
    for line in
        ["purge /a", "purges", "reload", "status", "retry x", "pause fastly", "purge --site www /a --wait 3"]
    {
        let (code, _, said) = run(&down, line);
        assert_eq!((code, said.lines().count()), (Some(1), 1), "{line}: {said}");
        let expected = format!("error: cannot reach the shim at http://{down}/ (connection refused)");
        assert!(said.starts_with(&expected), "{line}: {said}");
    }
    let (code, said, _) = run(&down, "purge /a --json");
    let error: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(1));
    assert!(error["title"].as_str().unwrap().starts_with("cannot reach the shim"), "{error}");
}

#[test]
fn wrong_usage_is_2_and_says_what_is_right() {
    let check = |line: &str, expected: &str| {
        let (code, _, said) = run("127.0.0.1:9", line);
        assert_eq!(code, Some(2), "{line}: {said}");
        assert!(said.contains(expected), "{line}: {said}");
    };
    check("purge product-42", "a tag is --tag product-42");
    check("purge /a 10", "--wait=10");
    check("purge /a --wait 0", "1 to 86400");
    check("purge", "nothing to purge");
    check("purge --everything --dry-run --wait", "cannot be used with");
}

#[test]
fn every_command_shows_an_example() {
    let (_, help, _) = run("", "--help");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Further lines of a description are indented more.
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<_> = names.filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        let (_, help, _) = run("", &format!("{name} --help"));
        assert!(help.contains("Example"), "{name}: {help}");
    }
}

#[test]
fn status_reload_and_dry_runs_answer_from_a_running_shim() {
    let origin = origin::serve(|mut exchange| exchange.answer(200, &[], "a page"));
    let shim = Program::start_with(
        |_, mut program| {
            program.env("ORIGIN_SHIM_TOKEN", TOKEN);
            program
        },
        |Place { address, admin, .. }| {
            format!(
                "[server]\nlisten = [\"{address}\"]\n[admin]\nlisten = \"{admin}\"\nhosts = [\"{HOST}\"]\n[[admin.tokens]]\nname = \"ops\"\n\
                 token = \"env:ORIGIN_SHIM_TOKEN\"\nscopes = [\"read\", \"purge\", \"purge-everything\", \"operate\"]\n\
                 [store]\nurl = \"sqlite:store.db\"\n[[sites]]\nname = \"www\"\nhosts = [\"www.example.com\"]\norigin = \"http://{origin}\"\n\
                 opt_in = {{ trust = [\"10.0.0.0/8\"] }}\n[[sites.cdns]]\ntype = \"varnish\"\napi_urls = [\"http://127.0.0.1:9\"]\n"
            )
        },
    );
    let admin = shim.admin.to_string();
    // Nothing listens where Varnish should be, so its CDN is unhealthy.
    let (code, said, _) = run(&admin, "status");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("shim: ready") && said.contains("www/varnish  on    unhealthy"), "{said}");
    let (code, said, _) = run(&admin, "purge /a https://www.example.com/b --dry-run");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("nothing was purged; for www") && said.contains("varnish"), "{said}");
    let (code, said, _) = run(&admin, "reload");
    assert_eq!((code, said.as_str()), (Some(0), "reloaded; this changed:\n  nothing\n"));
    let text = fs::read_to_string(&shim.config).unwrap();
    fs::write(&shim.config, text.replace("[server]", "[server]\nworkrs = 2")).unwrap();
    let (code, said, _) = run(&admin, "reload --json");
    let problem: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(1));
    assert!(
        problem["errors"][0]["message"].as_str().unwrap().contains("did you mean `workers`"),
        "{problem}"
    );
    let (code, _, said) = run(&admin, "purges --site nope");
    assert_eq!(code, Some(1));
    assert!(said.contains("There is no site `nope`"), "{said}");
}
