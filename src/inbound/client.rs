//! The families of clients, which are told apart by their `User-Agent`, for metrics.

/// The families, by what their `User-Agent` contains, the most telling first.
const FAMILIES: [(&str, &str); 24] = [
    ("W3 Total Cache", "wordpress"),
    ("WordPress", "wordpress"),
    ("Magento", "magento"),
    ("varnish_purger", "drupal"),
    ("Drupal", "drupal"),
    ("MediaWiki", "mediawiki"),
    ("Wagtail", "wagtail"),
    ("Shopware", "shopware"),
    ("Plone", "plone"),
    ("FOSHttpCache", "symfony"),
    ("Symfony", "symfony"),
    ("Contentful", "contentful"),
    ("Sanity", "sanity"),
    ("Storyblok", "storyblok"),
    ("DatoCMS", "datocms"),
    ("Kontent", "kontent"),
    ("Strapi", "strapi"),
    ("fastly", "fastly-sdk"),
    ("cloudflare", "cloudflare-sdk"),
    ("akamai", "akamai-sdk"),
    ("Guzzle", "php"),
    ("python", "python"),
    ("curl", "curl"),
    ("node", "node"),
];

/// Returns the family of a client.
pub fn family(agent: &str) -> &'static str {
    let agent = agent.to_ascii_lowercase();
    let of = |(part, _): &&(&str, &str)| agent.contains(&part.to_ascii_lowercase());
    FAMILIES.iter().find(of).map_or("other", |(_, family)| *family)
}

#[cfg(test)]
mod tests {
    use super::family;

    #[test]
    fn clients_are_told_apart() {
        for (agent, expected) in [
            ("WordPress/6.1; https://www.example.com", "wordpress"),
            ("varnish_purger module for Drupal 8.", "drupal"),
            ("MediaWiki/1.39.17 ForkController", "mediawiki"),
            ("Wagtail-frontendcache/8.0.1", "wagtail"),
            ("python-requests/2.32.3", "python"),
            ("GuzzleHttp/7", "php"),
            ("fastly-py/15.0.0", "fastly-sdk"),
            ("Cloudflare/Python 5.9.0", "cloudflare-sdk"),
            ("", "other"),
        ] {
            assert_eq!(family(agent), expected, "{agent}");
        }
    }
}
