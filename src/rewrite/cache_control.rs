//! `Cache-Control` and its targeted kin, parsed and printed with unknown directives kept.
