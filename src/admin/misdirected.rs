//! Decides whether a request is for the admin API at all. A web page can point a name of its own to our address,
//! and then let its visitor's browser request what needs no token (DNS rebinding). The browser sends that name in
//! `Host`.

use super::problem::{Kind, Problem};
use super::state::State;
use super::strict::Verdict;
use crate::proxy::host::of_authority;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns the reason for not answering a request, if there is one.
pub(super) fn judge(state: &State, verdict: Option<Verdict>) -> Option<Problem> {
    let refused =
        |why: &dyn std::fmt::Display, status| Some(Problem::new(Kind::Refused(status), format!("{why}.")));
    match verdict {
        Some(Ok(authority)) => match of_authority(&authority) {
            Some(host) if is_ours(&host, &state.config.load().admin.hosts) => None,
            Some(host) => Some(Problem::new(
                Kind::Misdirected,
                format!(
                    "`{host}` is neither an IP address nor `localhost` nor one of `admin.hosts` in the configuration: if this \
                     is a name of the admin API, add it there."
                ),
            )),
            None => refused(&"The Host is not legal", axum::http::StatusCode::BAD_REQUEST),
        },
        Some(Err(why)) => refused(&why.answer().public, why.answer().status),
        // hyper parsed a request where there is none.
        None => refused(&"The request cannot be read", axum::http::StatusCode::BAD_REQUEST),
    }
}

/// Whether the host is a name of the admin API. An IP address always is, because it cannot be the result of a
/// foreign name.
fn is_ours(host: &str, names: &[String]) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok()
        || v6.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        || names.iter().any(|name| name == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_the_names_in_the_configuration() {
        let names = ["admin.example.com".to_owned()];
        let check = |authority: &str, expected: bool| {
            let host = of_authority(authority).unwrap();
            assert_eq!(is_ours(&host, &names), expected, "{authority}");
        };
        for ours in [
            "127.0.0.1",
            "127.0.0.1:9180",
            "10.1.2.3",
            "[::1]:9180",
            "[2001:DB8::1]",
            "localhost",
            "LocalHost:9180",
            "localhost.",
        ] {
            check(ours, true);
        }
        for ours in ["admin.example.com", "Admin.Example.com:9180", "admin.example.com."] {
            check(ours, true);
        }
        for others in [
            "evil.test",
            "example.com",
            "x.admin.example.com",
            "127.0.0.1.evil.test",
            "localhost.evil.test",
            "1",
            "0x7f000001",
        ] {
            check(others, false);
        }
    }
}
