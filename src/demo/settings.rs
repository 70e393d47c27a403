//! The demo's configuration of the shim, in the same TOML as a file.

use super::ports::Addresses;

/// Returns the configuration, in which `token` has all scopes of the admin API.
pub fn toml(Addresses { edge, shim, origin, admin, .. }: Addresses, token: &str) -> String {
    format!(
        r#"[server]
listen = ["{shim}"]
workers = 1

[server.limits]
connections = 1024

[admin]
listen = "{admin}"

[[admin.tokens]]
name = "demo"
token = "literal:{token}"
scopes = ["read", "purge", "purge-everything", "operate"]

[store]
url = "sqlite::memory:"

[[sites]]
name = "demo"
hosts = ["127.0.0.1", "localhost"]
default = true
origin = "http://{origin}"

[sites.opt_in]
trust = ["127.0.0.1/32"]

[[sites.cdns]]
name = "edge"
type = "varnish"
hosts = ["127.0.0.1", "localhost"]
api_urls = ["http://{edge}"]
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_toml_with_every_address_and_the_token() {
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let (edge, bare_edge) = (address(1), address(5));
        let addresses =
            Addresses { edge, bare_edge, shim: address(2), origin: address(3), admin: address(4) };
        let table: toml::Table = toml(addresses, "secret").parse().unwrap();
        assert_eq!(table["server"]["listen"][0].as_str(), Some("127.0.0.1:2"));
        assert_eq!(table["admin"]["listen"].as_str(), Some("127.0.0.1:4"));
        assert_eq!(table["admin"]["tokens"][0]["token"].as_str(), Some("literal:secret"));
        assert_eq!(table["sites"][0]["origin"].as_str(), Some("http://127.0.0.1:3"));
        assert_eq!(table["sites"][0]["cdns"][0]["api_urls"][0].as_str(), Some("http://127.0.0.1:1"));
    }
}
