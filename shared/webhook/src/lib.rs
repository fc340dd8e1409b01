//! The kit of every receiving function. Trust is a type: only the checks in [`signature`] make a [`Verified`]. Only
//! that turns a [`Delivery`] into a [`VerifiedDelivery`], and only that can be parsed.

mod beacon;
mod body;
mod client;
mod delivery;
mod form;
mod json;
mod kept;
mod lenient;
mod odd;
mod plain;
mod provider;
pub mod read;
mod receive;
mod refusal;
mod request;
pub mod robots;
pub mod scan;
mod secret;
mod shape;
pub mod signature;
mod source;
mod text;

pub use body::{BodyRefused, MAX_BODY};
pub use client::{ClientAddress, ClientLimit, Limit, OneClient};
pub use delivery::VerifiedDelivery;
pub use form::{Form, FormValue};
pub use json::parse_json;
pub use kept::reread;
pub use lenient::lenient;
pub use odd::{Shape, odd};
pub use provider::{Accepts, Answer, Provider};
pub use receive::{Counters, Receiver, router};
pub use refusal::{NotUnderstood, Reject};
pub use request::Delivery;
pub use secret::Secret;
pub use shape::{SecretShape, is_standard_key};
pub use signature::Verified;
pub use source::{Build, Source, contact_identifiers, table};
