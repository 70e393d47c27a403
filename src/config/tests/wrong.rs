//! Tests that the error for each invalid configuration has its line, its key, the problem and what is allowed.

use super::{CANARY, SITE, complaints, read};
use std::fmt::Write;

/// Returns a configuration whose site has a CDN with these keys.
fn cdn(keys: &str) -> String {
    format!("{SITE}[[sites.cdns]]\n{keys}\n")
}

/// Returns a configuration whose site has these additional keys.
fn site(keys: &str) -> String {
    format!("{SITE}{keys}\n")
}

/// Returns a configuration with these top-level tables before a valid site.
fn top(keys: &str) -> String {
    format!("{keys}\n{SITE}")
}

#[test]
fn wrong_configurations() {
    let fastly = "type = \"fastly\"\nservice_id = \"S1\"\nauth_token = \"env:F_CANARY\"";
    let cases = [
        ("no TOML", top("[server\nlisten = 1")),
        ("an open string", top("[server]\nlisten = [\"127.0.0.1:80]")),
        ("a key twice", top("[server]\nworkers = 1\nworkers = 2")),
        ("nothing", String::new()),
        ("unknown table", top("[serve]")),
        ("unknown keys, all of them", top("[server]\nlisen = []\n[server.limits]\nheader-timeout = \"1s\"\ncolour = 1\n[store]\nURL = \"\"")),
        ("a margin that holds up purges", site("[sites.cache]\nfollow_up_margin = \"2m\"")),
        ("authorities that are not there", top("[server]\ntls_listen = []\nclient_ca = \"/nowhere/ca.pem\"")),
        ("missing keys, all of them", top("[[server.certificates]]\n[[admin.tokens]]\n[[sites]]\n[[sites.rules]]")),
        ("wrong types", top("[server]\nlisten = \"127.0.0.1:80\"")),
        ("wrong type of a number", top("[server]\nworkers = -1")),
        ("wrong type of a big number", top("[server]\nworkers = 5000000000")),
        ("wrong type of a list element", site("[sites.cache]\nvary = [\"accept\", 5]")),
        ("wrong type of a duration", site("[sites.cache]\nedge_ttl = 5")),
        ("wrong type of a boolean", site("default = \"yes\"")),
        ("wrong type of a table", top("server = 1")),
        ("wrong type of a list of tables", "[sites]\nname = \"www\"\norigin = \"http://a\"".to_owned()),
        ("wrong type of an origin", "[[sites]]\nname = \"www\"\norigin = 5".to_owned()),
        ("wrong type of a number of 8 bits", site("tags = { sections = 256 }")),
        ("an unknown word", site("mode = \"observ\"")),
        ("an unknown CDN", cdn("type = \"cloud-flare\"")),
        ("an unknown scope", top("[[admin.tokens]]\nname = \"a\"\ntoken = \"env:A_CANARY\"\nscopes = [\"write\"]")),
        ("a word that is a number", site("mode = 1")),
        ("addresses", top("[server]\nlisten = [\"8080\", \"localhost:80\", \"127.0.0.1:99999\"]\ntls_listen = [\"[::1]\"]\n[admin]\nlisten = \"\"")),
        ("nothing to listen on", top("[server]\nlisten = []")),
        ("listeners that meet", top("[server]\nlisten = [\"127.0.0.1:9180\", \"0.0.0.0:80\", \"0.0.0.0:80\", \"[::]:80\", \"127.0.0.1:0\", \"127.0.0.1:0\"]")),
        ("certificates that are not there", top("[server]\ntls_listen = [\"127.0.0.1:8443\"]\n[[server.certificates]]\ncert = \"/nowhere/a.pem\"\nkey = \"/nowhere/a.key\"")),
        ("networks", top("[server]\ntrusted_proxies = [\"10.0.0.0/33\", \"10.0.0\", \"localhost\"]\nproxy_protocol = [\"lb\"]")),
        ("limits", top("[server]\nworkers = 2000\n[server.limits]\nheader_timeout = \"0s\"\nrequest_headers = 0\nrequest_header_bytes = 100\ntarget_bytes = 70000\nconnections = 0\nrequests_in_flight = 0\nhttp2_streams = 0\nconnection_max_age = \"0s\"\nwrite_timeout = \"0s\"\ntunnel_timeout = \"0s\"\norigin_headers = 1001\norigin_header_bytes = 100")),
        ("stores", top("[store]\nurl = \"postgres://db/shim\"\nretention = \"1h\"")),
        ("a store of another kind", top("[store]\nurl = \"sqlite://shim.db\"")),
        ("tokens", top("[[admin.tokens]]\nname = \"CI job\"\ntoken = \"literal:short\"\nscopes = []\nsites = []\n[[admin.tokens]]\nname = \"a\"\ntoken = \"env:A_CANARY\"\nscopes = [\"read\"]\nsites = [\"www\", \"shop\"]\n[[admin.tokens]]\nname = \"a\"\ntoken = \"env:B_CANARY\"\nscopes = [\"read\"]")),
        ("secrets", top("[[admin.tokens]]\nname = \"a\"\ntoken = \"canary-0123456789abcdef\"\nscopes = [\"read\"]\n[[admin.tokens]]\nname = \"b\"\ntoken = \"env:UNSET\"\nscopes = [\"read\"]\n[[admin.tokens]]\nname = \"c\"\ntoken = \"file:/nowhere/token\"\nscopes = [\"read\"]\n[[admin.tokens]]\nname = \"d\"\ntoken = \"literal:\"\nscopes = [\"read\"]")),
        ("a secret that is no string", top("[[admin.tokens]]\nname = \"a\"\ntoken = 123456789\nscopes = [\"read\"]")),
        ("inbound listeners", top("[[inbound]]\nlisten = []\nprotocol = \"webhook\"\nsite = \"shop\"\nallow = [\"10.0.0.0/33\"]\nrefresh = true\ntoken_header = \"X Y\"\n[[inbound]]\nlisten = [\"127.0.0.1:9180\"]\nprotocol = \"fastli\"")),
        ("inbound listeners of the wrong kind", top("[[inbound]]\nlisten = [\"127.0.0.1:9180\", \"6081\"]\nprotocol = \"fastly\"\non_unknown_pattern = \"everything\"\n[[inbound.hooks]]\nname = \"x\"")),
        ("webhooks", top("[[inbound]]\nlisten = [\"127.0.0.1:6081\"]\nprotocol = \"webhook\"\n[[inbound.hooks]]\nname = \"A b\"\nverify = \"hmac-sha256\"\ntags = [\"a-{b}\", \"{/a\"]\npaths = [\"blog\"]\nprefixes = [\"/blog\"]\n[[inbound.hooks]]\nname = \"b\"\nsite = \"shop\"\nverify = \"sanity\"\nheader = \"x\"\nsecret = \"literal:short\"\n[[inbound.hooks]]\nname = \"b\"\nsecret = \"env:A_CANARY\"\nwhen = { \"/a~2\" = \"x\", \"a b\" = \"y\" }\ntags = [\"t\"]\nevent = \"publish\"")),
        ("sites", "[[sites]]\nname = \"WWW\"\norigin = \"ftp://a\"\n[[sites]]\nname = \"b\"\ndefault = true\norigin = [\"http://a\", \"http://a:80/\", \"http://b/x\"]\n[[sites]]\nname = \"b\"\ndefault = true\nhosts = [\"A\"]\norigin = []\n[[sites]]\nname = \"c\"\nhosts = [\"a\", \"b:80\", \"*\"]\norigin = \"http://u:p@a\"".to_owned()),
        ("origin_host", site("origin_host = \"preserv\"\norigin_settle = \"2h\"")),
        ("origin_host as a name", site("origin_host = \"a b\"")),
        ("upgrades", site("upgrades = [\"WebSocket\", \"h2c\", \"TLS/1.0\", \"a b\", \"\"]")),
        ("TLS towards origins", site("[sites.origin_tls]\nca = \"/nowhere/ca.pem\"\ncert = \"/nowhere/a.pem\"\nserver_name = \"*.example.com\"")),
        ("checks of origins", site("[sites.origin_check]\npath = \"healthz\"\nhost = \"a b\"\ninterval = \"0s\"\nstatus = 100\nrise = 0\nfall = 0")),
        ("opt-in", site("opt_in = { trust = \"all\" }")),
        ("opt-in by nothing", site("opt_in = { trust = [] }")),
        ("opt-in by a secret that is missing", site("opt_in = { trust = \"secret\" }")),
        ("opt-in with a secret that has no effect", site("opt_in = { secret = \"env:A_CANARY\" }")),
        ("opt-in with a short secret", site("opt_in = { trust = \"secret\", secret = \"literal:short\" }")),
        ("opt-in by certificate", site("opt_in = { trust = \"client-cert\" }")),
        ("opt-in by networks", site("opt_in = { trust = [\"10.0.0.0/8\", \"edge\"] }")),
        ("lifetimes", site("[sites.cache]\nedge_ttl = \"1y\"\nbrowser_ttl = \"500ms\"\nnot_found_ttl = \"366d\"\nguard_ttl = \"1h30m\"\nmax_purge_lag = \"0s\"\nvary = [\"*\", \"a b\"]")),
        ("rules", site("[[sites.rules]]\npath = \"assets/**\"\nedge_ttl = \"2 d\"\ntags = [\"ok\", \"a b\", \"\", \"a,b\"]\n[[sites.rules]]\npath = \"/x/***\"\nbrowser_ttl = \"1\"")),
        ("limits of sites and rules", site("body_timeout = \"0s\"\norigin_connect_timeout = \"1\"\n[[sites.rules]]\npath = \"/events\"\norigin_body_timeout = \"0s\"\n[[sites.rules]]\npath = \"/polls\"\norigin_connect_timeout = \"1s\"")),
        ("installation", top("[server]\nid = \"EU 1\"")),
        ("installation with the name of a CDN", top("[server]\nid = \"behind-cloudflare\"")),
        ("tags", site("tags = { sections = 17 }")),
        ("event rules", site("page_forms = [\"\", \"html\", \"/?\"]\n[[sites.events]]\non = []\nparents = 17\n[[sites.events]]\non = [\"Publish\"]\npath = \"blog\"\npurge_paths = [\"blog\", \"/a?b\"]\npurge_tags = [\"a b\"]\npurge_prefixes = [\"/blog\", \"/blog/*\"]\n[[sites.events]]\npath = \"/a\"")),
        ("event rules that a CDN cannot carry out", cdn(&format!("{fastly}\n[[sites.events]]\npurge_prefixes = [\"/\", \"/a/b/\"]"))),
        ("a site of AEM without its ids", site("profile = \"aem\"\n[sites.aem]\n[[sites.aem.folders]]")),
        ("a site of AEM", site("[sites.aem]\norg = \"a b\"\nsite = \"\"\ncontent_bus_id = \"c,d\"\nowner = \"/\"\nrepo = \"é\"\nref = \"a/b\"")),
        ("a partition of a site of AEM", site("[sites.aem]\norg = \"a\"\nsite = \"a\"\ncontent_bus_id = \"c\"\npartition = \"liv\"")),
        ("thresholds and paths of a site of AEM", site("[sites.aem]\norg = \"a\"\nsite = \"a\"\ncontent_bus_id = \"c\"\nbulk_threshold = 0\ncode_threshold = 0\nmetadata = [\"metadata.json\"]\nfolders = [{ path = \"a\", maps_to = \"/b?c\" }]")),
        ("a CDN without its keys", cdn("type = \"fastly\"")),
        ("keys of another CDN", cdn(&format!("{fastly}\nzone_id = \"z\"\napi_urls = []\ntoken = \"x\""))),
        ("api_url for Varnish", cdn("type = \"varnish\"\napi_url = \"http://127.0.0.1:6081\"")),
        ("Varnish nodes", cdn("type = \"varnish\"\napi_urls = [\"127.0.0.1:6081\", \"http://127.0.0.1:6081/\", \"http://127.0.0.1:6081\"]")),
        ("Akamai", cdn("type = \"akamai\"\nclient_token = \"env:A_CANARY\"\nclient_secret = \"env:B_CANARY\"\naccess_token = \"env:C_CANARY\"\neverything = \"cdn\"\ncp_codes = [0]")),
        ("Akamai's endpoint", cdn("type = \"akamai\"\nclient_token = \"env:A_CANARY\"\nclient_secret = \"env:B_CANARY\"\naccess_token = \"env:C_CANARY\"\neverything = \"cdn\"\nendpoint = \"https://a\"")),
        ("CDN values", cdn("type = \"cloudflare\"\nname = \"Cloud Flare\"\nzone_id = \"a/b\"\napi_token = \"env:A_CANARY\"\nhosts = [\"*.example.com\", \"a\", \"a\"]\nrepeat_after = \"1h\"\naccount = \"a/b\"\nttl_header = \"connection\"\ntag_header = \"Cache Tag\"\napi_url = \"https://a?x\"\nplan = \"free\"")),
        ("rates", cdn(&format!("{fastly}\ncalls_per_second = 0\ncall_burst = 0\nitems_per_second = 2e6\n[[sites.cdns]]\n{fastly}\nname = \"b\"\nitem_burst = 5\ncalls_per_second = nan"))),
        ("tags where lifetimes are", cdn(&format!("{fastly}\ntag_header = \"Surrogate-Control\""))),
        ("tags where another CDN's lifetimes are", cdn("type = \"cloudfront\"\ndistribution_id = \"E1ABCDEF\"\ntag_header = \"Surrogate-Control\"\n")),
        ("lifetimes where tags are", cdn(&format!("{fastly}\nttl_header = \"Cache-Tag\""))),
        ("events that purge what is not the site's", site("[[sites.events]]\non = [\"publish\"]\npurge_tags = [\"x\", \"Site-Shop\", \"p-0123456789abcdef0123456789abcdef\", \"d-0123456789abcdef0123456789abcdef\"]\n[[sites]]\nname = \"shop\"\nhosts = [\"shop.example.com\"]\norigin = \"http://a\"")),
        ("names of the admin API", top("[admin]\nhosts = [\"admin.example.com\", \"*.example.com\", \"admin.example.com:9180\", \"http://admin\"]")),
        ("CDNs that do not agree", cdn(&format!("{fastly}\n[[sites.cdns]]\n{fastly}\nname = \"b\"\nttl_header = \"cdn-cache-control\"\ntag_header = \"x-key\"\n[[sites.cdns]]\n{fastly}"))),
    ];
    let mut answers = String::new();
    for (name, text) in cases {
        let error = read(&text).expect_err(name);
        writeln!(answers, "{name}:{}", error.to_string().trim_start_matches("the configuration is invalid"))
            .unwrap();
    }
    assert!(!answers.contains(CANARY) && !answers.contains("123456789"), "{answers}");
    insta::assert_snapshot!(answers);
}

#[test]
fn doubtful_configurations() {
    let fastly = "type = \"fastly\"\nservice_id = \"S1\"\nauth_token = \"literal:canary-0123456789abcdef\"";
    let token = "[[admin.tokens]]\nname = \"a\"\ntoken = \"env:A_CANARY\"\nscopes = [\"read\"]";
    let secret = "opt_in = { trust = \"secret\", secret = \"env:A_CANARY\" }";
    let varnish = "[[sites.cdns]]\ntype = \"varnish\"\napi_urls = [\"http://127.0.0.1:6081\"]";
    let cases = [
        ("a plain proxy without tokens", SITE.to_owned()),
        (
            "TLS towards origins without https",
            site(&format!("mode = \"off\"\n[sites.origin_tls]\nserver_name = \"a\"\n{token}"))
                .replace("https://", "http://"),
        ),
        (
            "WebSocket beside HTTP/2 without TLS",
            site(&format!(
                "mode = \"off\"\norigin_protocol = \"http2\"\nupgrades = [\"websocket\"]\n{token}"
            ))
            .replace("https://", "http://"),
        ),
        ("a plain proxy on purpose", site(&format!("mode = \"off\"\n{token}"))),
        ("trust any, literal secret", cdn(&format!("{fastly}\n{token}"))),
        ("nothing doubtful", site(&format!("{secret}\n{varnish}\n{token}"))),
        (
            "open networks",
            format!(
                "[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n{SITE}opt_in = {{ trust = [\"::/0\"] }}\n{varnish}\n{token}"
            ),
        ),
        (
            "an open admin API, a store that forgets",
            format!(
                "[admin]\nlisten = \"0.0.0.0:9180\"\n[store]\nurl = \"sqlite::memory:\"\n{SITE}{secret}\n{varnish}\n{token}"
            ),
        ),
        (
            "lifetimes",
            site(&format!(
                "{secret}\ncache = {{ edge_ttl = \"1h\", fallback_ttl = \"2h\", guard_ttl = \"1m\" }}\n{varnish}\n{token}"
            )),
        ),
        (
            "everything at a service that two sites share",
            site(&format!(
                "{secret}\n{varnish}\neverything = \"cdn\"\n{}\nhosts = [\"b.example.com\"]\n{secret}\n{varnish}\n{token}",
                SITE.replace("www", "shop")
            ))
            .replace("hosts = [\"shop.example.com\"]\n", ""),
        ),
        (
            "a rule twice",
            site(&format!(
                "{secret}\n[[sites.rules]]\npath = \"/a\"\n[[sites.rules]]\npath = \"/a\"\n{varnish}\n{token}"
            )),
        ),
        (
            "AEM without ids, a misspelt event",
            site(&format!(
                "mode = \"off\"\nprofile = \"aem\"\n[[sites.events]]\non = [\"publsh\", \"price\"]\npurge_paths = [\"/\"]\n{token}"
            )),
        ),
        (
            "CloudFront without tags",
            site(&format!(
                "{secret}\n[[sites.cdns]]\ntype = \"cloudfront\"\ndistribution_id = \"E1\"\naccess_key_id = \"A1\"\nsecret_access_key = \"env:A_CANARY\"\n{token}"
            )),
        ),
        (
            "CloudFront without tags, events with tags",
            site(&format!(
                "{secret}\n[[sites.events]]\npurge_tags = [\"posts\"]\n[[sites.cdns]]\ntype = \"cloudfront\"\ndistribution_id = \"E1\"\naccess_key_id = \"A1\"\nsecret_access_key = \"env:A_CANARY\"\n{token}"
            )),
        ),
        (
            "plain HTTP, no exact host",
            format!(
                "[[sites]]\nname = \"www\"\nhosts = [\"*.example.com\"]\norigin = \"http://a\"\n{secret}\n[[sites.cdns]]\ntype = \"varnish\"\napi_urls = [\"http://varnish:6081\"]\n{token}"
            ),
        ),
        (
            "Akamai without a way to purge everything",
            site(&format!(
                "{secret}\ntags = {{ site = false }}\n[[sites.cdns]]\ntype = \"akamai\"\nendpoint = \"a.akamaiapis.net\"\nclient_token = \"env:A_CANARY\"\nclient_secret = \"env:A_CANARY\"\naccess_token = \"env:A_CANARY\"\n{token}"
            )),
        ),
    ];
    let mut answers = String::new();
    for (name, text) in cases {
        read(&text).expect(name);
        writeln!(answers, "{name}:").unwrap();
        complaints(&text).iter().for_each(|line| writeln!(answers, "  {line}").unwrap());
    }
    assert!(!answers.contains(CANARY), "{answers}");
    insta::assert_snapshot!(answers);
}

/// However a line of a valid file is broken, the error shows no secret.
#[test]
fn broken_lines_show_no_secret() {
    let good =
        cdn("type = \"fastly\"\nservice_id = \"S1\"\nauth_token = \"literal:canary-0123456789abcdef\"");
    let secret = "\"literal:canary-0123456789abcdef\"";
    for broken in [
        good.replace(secret, "literal:canary-0123456789abcdef"),
        good.replace(secret, "\"literal:canary-0123456789abcdef"),
        good.replace(secret, "\"literal:canary-0123456789abcdef\" x"),
        good.replace(secret, "\"canary-0123456789abcdef\""),
        good.replace(secret, "\"literal:canary-0123456789abcdef \""),
        good.replace(secret, "[\"literal:canary-0123456789abcdef\"]"),
        good.replace(secret, "{ literal = \"canary-0123456789abcdef\" }"),
        good.replace("auth_token", "repeat_after"),
        good.replace("auth_token", "hosts"),
        good.replace("auth_token", "mode"),
        good.replace("auth_token", "name"),
        good.replace("auth_token", "api_url"),
        good.replace("auth_token", "cp_codes"),
        good.replace("auth_token", "ttl_header"),
        good.replace("auth_token", "auth_tokn"),
        good.replace("auth_token = ", "auth_token "),
        good.replace("type = \"fastly\"", "type = \"literal:canary-0123456789abcdef\""),
    ] {
        let error = read(&broken).expect_err(&broken);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary"), "{broken}\n{shown}");
    }
}

proptest::proptest! {
    /// However a valid file is cut and pasted, reading it does not panic, and an error names a place within the file
    /// and shows no secret.
    #[test]
    fn damaged_files_get_an_answer(from in 0usize..2000, length in 0usize..60, to in 0usize..2000) {
        let good = cdn(concat!(
            "type = \"fastly\"\nservice_id = \"S1\"\nauth_token = \"literal:canary-0123456789abcdef\"\n",
            "hosts = [\"www.example.com\", \"b\u{fc}cher.example\"]\n[[sites.rules]]\npath = \"/\u{e4}/**\"\ntags = [\"a\"]\n",
            "[server.limits]\nrequest_headers = 50\n[[admin.tokens]]\nname = \"a\"\ntoken = \"env:A_CANARY\"\nscopes = [\"read\"]",
        ));
        let mut characters: Vec<char> = good.chars().collect();
        let from = from % characters.len();
        let cut: Vec<char> = characters.drain(from..(from + length).min(characters.len())).collect();
        let to = to % (characters.len() + 1);
        characters.splice(to..to, cut);
        let text: String = characters.into_iter().collect();
        if let Err(error) = read(&text) {
            proptest::prop_assert!(!error.problems().is_empty());
            for problem in error.problems() {
                proptest::prop_assert!(problem.line <= text.matches('\n').count() + 1);
                let line = text.split('\n').nth(problem.line - 1).unwrap_or_default();
                proptest::prop_assert!(problem.column <= line.chars().count() + 1, "{} {:?}", problem, text);
                proptest::prop_assert!(!problem.message.contains(CANARY), "{}", problem);
            }
        }
    }
}
