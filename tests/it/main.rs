//! Black-box tests, in one binary for the sake of link time.

mod proxy;
mod support_proxy;
