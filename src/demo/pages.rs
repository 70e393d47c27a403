//! The pages of the demo's shop, and when each of their versions was replaced.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The number of products. More than a few, so that a cache has something to do.
pub const PRODUCTS: usize = 100;

/// The product that the story is about, and whose price is also on the home page.
pub const STORY: usize = 42;

/// How many past versions of a page are remembered.
const REMEMBERED: usize = 64;

/// A page of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/`
    Home,
    /// `/blog/first`
    Post,
    /// `/style.css`
    Style,
    /// `/products/1` and so on.
    Product(usize),
}

impl Page {
    /// Returns the page at a path.
    pub fn at(path: &str) -> Option<Self> {
        let product = |number: &str| number.parse().ok().filter(|number| (1..=PRODUCTS).contains(number));
        match path {
            "/" => Some(Self::Home),
            "/blog/first" => Some(Self::Post),
            "/style.css" => Some(Self::Style),
            _ => path.strip_prefix("/products/").and_then(product).map(Self::Product),
        }
    }

    /// Returns the page's path.
    pub fn path(self) -> String {
        match self {
            Self::Home => "/".to_owned(),
            Self::Post => "/blog/first".to_owned(),
            Self::Style => "/style.css".to_owned(),
            Self::Product(number) => format!("/products/{number}"),
        }
    }

    /// Returns the page's tags, as `Surrogate-Key` has them.
    pub fn tags(self) -> String {
        match self {
            Self::Home => format!("home product-{STORY}"),
            Self::Post => "blog".to_owned(),
            Self::Style => "assets".to_owned(),
            Self::Product(number) => format!("products product-{number}"),
        }
    }

    /// Describes what changes when the page is published.
    pub fn what(self) -> String {
        match self {
            Self::Home => "the home page".to_owned(),
            Self::Post => "the first post".to_owned(),
            Self::Style => "the accent colour".to_owned(),
            Self::Product(number) => format!("the price of product {number}"),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Home => 0,
            Self::Post => 1,
            Self::Style => 2,
            Self::Product(number) => 2 + number,
        }
    }
}

/// The version of each page.
#[derive(Debug)]
pub struct Versions(Vec<Version>);

#[derive(Clone, Debug, Default)]
struct Version {
    /// How often the page was published.
    published: u32,
    /// The moments of the last publishes, the latest at the end.
    moments: VecDeque<Instant>,
}

impl Default for Versions {
    fn default() -> Self {
        Self(vec![Version::default(); PRODUCTS + 3])
    }
}

impl Versions {
    /// Returns how often a page was published since the start.
    pub fn published(&self, page: Page) -> u32 {
        self.0[page.index()].published
    }

    /// Publishes a page, and the home page with the product that it shows.
    pub fn publish(&mut self, page: Page, now: Instant) {
        let with_home = (page == Page::Product(STORY)).then_some(Page::Home);
        for page in [page].into_iter().chain(with_home) {
            let version = &mut self.0[page.index()];
            version.published += 1;
            if version.moments.len() == REMEMBERED {
                version.moments.pop_front();
            }
            version.moments.push_back(now);
        }
    }

    /// Returns the entity tag of a page's present version.
    pub fn etag(&self, page: Page) -> String {
        format!("\"v{}\"", self.published(page) + 1)
    }

    /// Returns for how long the version with this entity tag has been replaced by a newer one; nothing for the
    /// present version.
    pub fn outdated_for(&self, page: Page, etag: &str, now: Instant) -> Option<Duration> {
        let version = &self.0[page.index()];
        let seen: u32 = etag.strip_prefix("\"v")?.strip_suffix('"')?.parse().ok()?;
        // The version that was seen ended with publish number `seen`, counted from 1.
        let newer = usize::try_from(version.published.checked_sub(seen)?).ok()?;
        let forgotten = version.moments.front();
        let ended =
            version.moments.len().checked_sub(newer + 1).map_or(forgotten, |at| version.moments.get(at));
        ended.map(|ended| now.saturating_duration_since(*ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_pages() {
        let check = |path: &str, page: Option<Page>| {
            assert_eq!(Page::at(path), page, "{path}");
            page.into_iter().for_each(|page| assert_eq!(page.path(), path));
        };
        check("/", Some(Page::Home));
        check("/blog/first", Some(Page::Post));
        check("/style.css", Some(Page::Style));
        check("/products/1", Some(Page::Product(1)));
        check("/products/100", Some(Page::Product(100)));
        check("/products/0", None);
        check("/products/101", None);
        check("/products/", None);
        check("/nothing", None);
    }

    #[test]
    fn an_old_version_is_outdated_since_it_was_replaced() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (mut versions, page) = (Versions::default(), Page::Product(7));
        let first = versions.etag(page);
        let check = |versions: &Versions, etag: &str, seconds: Option<u64>| {
            let outdated = versions.outdated_for(page, etag, after(100));
            assert_eq!(outdated, seconds.map(Duration::from_secs), "{etag}");
        };
        check(&versions, &first, None);
        versions.publish(page, after(10));
        let second = versions.etag(page);
        check(&versions, &first, Some(90));
        check(&versions, &second, None);
        versions.publish(page, after(40));
        check(&versions, &first, Some(90));
        check(&versions, &second, Some(60));
        check(&versions, &versions.etag(page), None);
        check(&versions, "W/\"other\"", None);

        // Of a version that is no longer remembered, only a lower bound is known.
        (0..REMEMBERED).for_each(|_| versions.publish(page, after(50)));
        check(&versions, &first, Some(50));
    }

    #[test]
    fn the_home_page_changes_with_the_price_that_it_shows() {
        let mut versions = Versions::default();
        versions.publish(Page::Product(STORY), Instant::now());
        versions.publish(Page::Product(1), Instant::now());
        assert_eq!((versions.published(Page::Home), versions.published(Page::Product(STORY))), (1, 1));
    }
}
