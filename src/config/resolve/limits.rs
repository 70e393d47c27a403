//! The limits of sites and rules that replace those in `[server.limits]`.

use crate::config::OtherLimits;
use crate::config::at::At;
use crate::config::file::site as file;
use crate::config::text::DurationText;
use std::time::Duration;

fn timeout(name: &str, text: Option<&DurationText>, at: &At<'_>) -> Option<Duration> {
    text.map(|text| at.key(name).positive_duration(text))
}

pub(super) fn of_site(file: &file::Site, at: &At<'_>) -> OtherLimits {
    let timeout = |name, text: &Option<DurationText>| timeout(name, text.as_ref(), at);
    OtherLimits {
        body_timeout: timeout("body_timeout", &file.body_timeout),
        body_min_rate: file.body_min_rate,
        tunnel_timeout: timeout("tunnel_timeout", &file.tunnel_timeout),
        origin_connect_timeout: timeout("origin_connect_timeout", &file.origin_connect_timeout),
        origin_queue_timeout: timeout("origin_queue_timeout", &file.origin_queue_timeout),
        origin_first_byte_timeout: timeout("origin_first_byte_timeout", &file.origin_first_byte_timeout),
        origin_body_timeout: timeout("origin_body_timeout", &file.origin_body_timeout),
    }
}

pub(super) fn of_rule(file: &file::Rule, at: &At<'_>) -> OtherLimits {
    let timeout = |name, text: &Option<DurationText>| timeout(name, text.as_ref(), at);
    OtherLimits {
        body_timeout: timeout("body_timeout", &file.body_timeout),
        body_min_rate: file.body_min_rate,
        tunnel_timeout: timeout("tunnel_timeout", &file.tunnel_timeout),
        origin_connect_timeout: None,
        origin_queue_timeout: None,
        origin_first_byte_timeout: timeout("origin_first_byte_timeout", &file.origin_first_byte_timeout),
        origin_body_timeout: timeout("origin_body_timeout", &file.origin_body_timeout),
    }
}
