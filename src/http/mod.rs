//! HTTP as both sides speak it, clients towards us and we towards origins: heads, the framing of HTTP/1.1, what is common to
//! connections of HTTP/2. Nothing here knows on which side it is.

pub mod h1;
pub mod h2;
pub mod head;
pub mod hop;
pub mod request_body;
pub mod timer;
pub mod tls;
