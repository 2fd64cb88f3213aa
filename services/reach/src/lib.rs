//! The way out, for services that speak to servers elsewhere: names ([`resolve`]), TCP and TLS ([`connect`]).
//!
//! One request, one connection; no redirects, no proxies. It decides nothing about whom to speak to: the config
//! says that, and the service's room lets nothing else through.

pub mod connect;
pub mod resolve;
