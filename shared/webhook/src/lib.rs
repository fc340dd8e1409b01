//! The kit of every receiving function. Trust is a type: only the checks in [`signature`] make a [`Verified`]. Only
//! that turns a [`Delivery`] into a [`VerifiedDelivery`], and only that can be parsed.

mod beacon;
mod body;
mod client;
mod delivery;
mod form;
mod json;
mod lenient;
mod odd;
mod plain;
mod provider;
pub mod read;
mod receive;
pub mod robots;
pub mod scan;
mod shape;
pub mod signature;
mod source;
mod text;

pub use body::{BodyRefused, MAX_BODY};
pub use client::{ClientAddress, ClientLimit, Limit, OneClient};
pub use delivery::{Delivery, VerifiedDelivery, reread};
pub use form::{Form, FormValue};
pub use json::parse_json;
pub use lenient::lenient;
pub use odd::{Shape, odd};
pub use provider::{Accepts, Answer, NotUnderstood, Provider, Reject};
pub use receive::{Counters, Receiver, router};
pub use shape::{SecretShape, is_standard_key};
pub use signature::Verified;
pub use source::{Build, Secret, Source, contact_identifiers, table};
