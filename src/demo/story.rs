//! What the demo prints: the chain, the steps of the sequence, and what to try next.

use super::error::DemoError;
use super::ports::Addresses;
use super::site;
use crate::terminal;

/// Prints a step of the story. Parts of it may come from servers, so the terminal module cleans it.
pub fn say(text: &str) -> Result<(), DemoError> {
    terminal::print(&format!("{text}\n")).map_err(|source| DemoError::Io { action: "print", source })
}

/// Returns a picture of the chain.
pub fn introduction(Addresses { edge, shim, origin, admin, .. }: Addresses) -> String {
    format!(
        "
Origin Shim demo: a shop whose pages a CDN keeps for two days, and yet every change shows at once

  visitor -> edge            -> shim            -> origin
             {edge}    {shim}    {origin}
               ^                |
               '---- purges ----'  <- admin {admin}
"
    )
}

/// Returns what to look at.
pub fn places(Addresses { edge, bare_edge, origin, admin, .. }: Addresses, token: &str) -> String {
    let editor = site::EDITOR;
    format!(
        "Look at
  what happens now: the console    http://{admin}/#token={token}
  the site, as visitors see it     http://{edge}/
  the same site without the shim   http://{bare_edge}/
  its editor, at the origin        http://{origin}{editor}
"
    )
}

/// Returns what to try, in commands.
pub fn invitation(Addresses { edge, shim, origin, admin, .. }: Addresses, token: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "origin-shim".to_owned());
    format!(
        "
Type
  export ORIGIN_SHIM_TOKEN={token} ORIGIN_SHIM_ADMIN=http://{admin}
  curl -i http://{edge}/products/42
  curl -X POST 'http://{origin}/publish?path=/products/42'
  {program} purge --path /products/42 --wait
  {program} purge --tag product-42 --wait
  {program} purge --everything --wait
  {program} purges
  {program} top

What the shim tells a CDN, and what it tells everybody else
  curl -sI -H 'X-Push-Invalidation: enabled' -H 'X-BYO-CDN-Type: varnish' http://{shim}/products/42
  curl -sI http://{shim}/products/42

What a CMS sends
  curl -X POST http://{admin}/v1/sites/demo/purges -H \"Authorization: Bearer $ORIGIN_SHIM_TOKEN\" \\
    -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d '{{\"tags\": [\"product-42\"]}}'

Visitors now open 25 pages a second, with the shim and without it, and every 3 s a page is published. Without the shim
the CDN keeps pages for 20 s, as the origin says. Ctrl-C ends the demo.
"
    )
}
