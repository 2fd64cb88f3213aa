//! Pages, sign-in and the public API, over TLS.
//!
//! A request goes through the URL table ([`routes`]) to a page ([`handlers`]), to a service behind
//! ([`api`]) or to a file ([`assets`]); every answer carries the headers of [`headers`]. Who is signed
//! in is decided in [`account`], what the other services know is asked for in [`backend`], each panel
//! on its own: a service that is absent costs its panel and never the page. Charts are SVG made here
//! ([`chart`]); pages need no script and have none.
//!
//! It never reaches out to the network, never shows internal error text, and never serves without TLS.
//!
//! Limits: 512 connections, forms of 16 KiB, pushed bodies of 64 MiB, one password hash (19 MiB) at a
//! time with 8 waiting, 256 sessions in memory, sessions of 8 h idle and 3 days in all.

pub mod account;
pub mod api;
pub mod app;
pub mod assets;
pub mod audit;
pub mod backend;
pub mod certificate;
pub mod chart;
pub mod clock;
pub mod cookie;
pub mod error;
pub mod form;
pub mod handlers;
pub mod headers;
pub mod multipart;
pub mod page;
pub mod random;
pub mod routes;
pub mod serve;
pub mod tls;
