//! Deliveries as providers send them: signatures, samples from `events/`, the sample tour.

pub mod fans;
mod ports;
pub mod samples;
pub mod season;
mod signed_request;
pub mod tour;

pub use ports::free_port;
pub use signed_request::{
    SignedRequest, form, form_signed, hmac_sha1_base64, hmac_sha1_hex, hmac_sha256_hex, json, md5_hex, qtickets,
    standard_signature, unisender,
};
