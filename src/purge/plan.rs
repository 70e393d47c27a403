//! Planning: a purge against each CDN's capabilities. Pure.
