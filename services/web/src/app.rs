//! The web service's parts, and the way of a request through them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::{HeaderValue, SET_COOKIE};
use tokio::sync::Mutex as AsyncMutex;
use vakt_wire::config::{MachineConfig, Token};
use vakt_wire::http::{Handler, Peer, Request, Response};
use vakt_wire::life::Life;

use crate::account::attempts::Attempts;
use crate::account::csrf;
use crate::account::password::Passwords;
use crate::account::session::{Session, Sessions};
use crate::account::setup_code::SetupCode;
use crate::account::users::Users;
use crate::backend::catalog::Catalog;
use crate::backend::{Backends, Sockets};
use crate::error::{self, PageError};
use crate::page::{Shell, redirect};
use crate::routes::{self, Access, Endpoint, Found, Route};
use crate::{api, assets, clock, cookie, form, handlers, headers, random};

/// Everything that handlers need.
#[derive(Debug)]
pub struct App {
    /// The box' name.
    pub box_name: String,
    /// Names of the peers in the config.
    pub peers: Vec<String>,
    /// The certificate's fingerprint.
    pub fingerprint: String,
    /// The engine elsewhere that the pages' numbers are from; empty for the box' own store.
    pub numbers_from: String,
    /// Programs' tokens.
    pub tokens: Vec<Token>,
    /// The other services.
    pub backends: Backends,
    /// Who is signed in.
    pub sessions: Sessions,
    /// Who may sign in.
    pub users: Users,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// The set-up code; held while a set-up is decided, so that it is used once.
    pub setup: AsyncMutex<SetupCode>,
    /// Puts a line on the machine's console; `None` in tests.
    pub life: Option<Life>,
    /// The data directory.
    pub data: PathBuf,
    attempts: Mutex<Attempts>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// From where.
    pub address: IpAddr,
    /// The cookie of the session, when it is good.
    pub token: String,
    /// The session; `None` for a visitor.
    pub session: Option<Session>,
}

impl App {
    /// An app for this config; `data` holds the set-up code.
    pub fn new(config: MachineConfig, sockets: &Sockets, data: PathBuf) -> App {
        let catalog = Catalog::new(&sockets.store);
        App {
            box_name: config.hostname.to_string(),
            peers: config.peers.iter().map(|peer| peer.name.to_string()).collect(),
            fingerprint: String::new(),
            tokens: config.tokens,
            backends: Backends::new(sockets, config.read_from.is_some()),
            numbers_from: config.read_from.map(|from| from.url.to_string()).unwrap_or_default(),
            sessions: Sessions::new(catalog.clone()),
            users: Users::new(config.admin, catalog),
            passwords: Passwords::default(),
            setup: AsyncMutex::new(SetupCode::none(&data)),
            life: None,
            data,
            attempts: Mutex::default(),
        }
    }

    /// Failed attempts, by address.
    pub fn attempts(&self) -> MutexGuard<'_, Attempts> {
        // Nothing panics while holding the lock.
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame of a page for this caller.
    pub fn shell(&self, caller: &Caller, title: impl Into<String>, active: &'static str) -> Shell {
        Shell {
            title: title.into(),
            active,
            user: caller.session.as_ref().map(|session| session.user.clone()).unwrap_or_default(),
            form_token: csrf::token(&caller.token),
            box_name: self.box_name.clone(),
        }
    }

    async fn caller(&self, request: &Request) -> Caller {
        let address = match request.peer {
            Peer::Tcp(address) => address.ip().to_canonical(),
            Peer::Unix { .. } => Ipv4Addr::LOCALHOST.into(),
        };
        let token = cookie::get(request, cookie::SESSION).unwrap_or_default().to_owned();
        let session = match token.as_str() {
            "" => None,
            token => self.sessions.find(token, clock::now_s()).await,
        };
        Caller { address, token, session }
    }

    async fn answer(&self, request: Request) -> Response {
        let path = request.path().to_owned();
        let (route, segment) = match routes::find(request.method(), &path) {
            Found::Route(route, segment) => (route, segment),
            Found::WrongMethod => return self.lost(&request, &PageError::WrongMethod).await,
            Found::Nowhere => return self.lost(&request, &PageError::NotFound).await,
        };
        match route.access {
            Access::Public => self.public(route, &path),
            Access::Visitor => self.visitor(route, request).await,
            Access::SignedIn => self.signed_in(route, &segment, request).await,
            Access::Program(scope) => {
                let caller = self.caller(&request).await;
                api::answer(self, route, scope, &caller, request).await
            }
        }
    }

    async fn lost(&self, request: &Request, error: &PageError) -> Response {
        let caller = self.caller(request).await;
        error::respond(error, self.shell(&caller, "", ""))
    }

    fn public(&self, route: &Route, path: &str) -> Response {
        match route.endpoint {
            Endpoint::Asset => {
                assets::serve(path).unwrap_or_else(|error| error::respond(&error, Shell::default()))
            }
            _ => vakt_wire::http::text(hyper::StatusCode::OK, "OK"),
        }
    }

    /// Pages for who has not signed in. Their forms belong to a cookie of the visit.
    async fn visitor(&self, route: &Route, request: Request) -> Response {
        let mut caller = self.caller(&request).await;
        caller.session = None;
        caller.token = cookie::get(&request, cookie::VISIT).unwrap_or_default().to_owned();
        let fresh = caller.token.len() != 32;
        if fresh {
            match random::bytes::<16>() {
                Ok(bytes) => caller.token = random::hex(&bytes),
                Err(_) => return error::respond(&PageError::Internal, Shell::default()),
            }
        }
        let is_post = request.method() == hyper::Method::POST;
        let answered = match (route.endpoint, is_post) {
            (Endpoint::SetUp, false) => handlers::set_up::show(self, &caller).await,
            (Endpoint::SetUp, true) => handlers::set_up::send(self, &caller, request).await,
            (_, false) => handlers::sign_in::show(self, &caller, &request).await,
            (_, true) => handlers::sign_in::send(self, &caller, request).await,
        };
        let mut response =
            answered.unwrap_or_else(|error| error::respond(&error, self.shell(&caller, "", "")));
        if fresh {
            add_cookie(&mut response, &cookie::set(cookie::VISIT, &caller.token, cookie::VISIT_S_MAX));
        }
        response
    }

    async fn signed_in(&self, route: &Route, segment: &str, request: Request) -> Response {
        let caller = self.caller(&request).await;
        if caller.session.is_none() {
            let next = request.uri().path_and_query().map_or("/", |next| next.as_str());
            let next = if request.method() == hyper::Method::POST || next == "/" { "" } else { next };
            return redirect(&form::url("/sign-in", &[("next", next)]));
        }
        let answered = match route.endpoint {
            Endpoint::Host => handlers::host::show(self, &caller, segment, &request).await,
            Endpoint::Logs => handlers::logs::show(self, &caller, &request).await,
            Endpoint::Repairs => handlers::repairs::show(self, &caller).await,
            Endpoint::Config => handlers::config::answer(self, &caller, request).await,
            Endpoint::Updates => handlers::updates::show(self, &caller).await,
            Endpoint::Boots => handlers::boots::show(self, &caller).await,
            Endpoint::UpdateCheck => handlers::updates::send(self, &caller, request, false).await,
            Endpoint::UpdateInstall => handlers::updates::send(self, &caller, request, true).await,
            Endpoint::UpdateArchive => handlers::updates::upload(self, &caller, request).await,
            Endpoint::Machine => handlers::machine::show(self, &caller).await,
            Endpoint::Backup => handlers::backup::take(self, &caller, request).await,
            Endpoint::Restore => handlers::backup::restore(self, &caller, request).await,
            Endpoint::Welcome => handlers::welcome::answer(self, &caller, request).await,
            Endpoint::Reset => handlers::machine::reset(self, &caller, request).await,
            Endpoint::SignOut => handlers::sign_out::send(self, &caller, request).await,
            _ => handlers::overview::show(self, &caller).await,
        };
        answered.unwrap_or_else(|error| error::respond(&error, self.shell(&caller, "", "")))
    }
}

/// Adds a `Set-Cookie`; cookie values here are hex, so they always fit.
pub fn add_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

impl Handler for App {
    async fn handle(self: Arc<Self>, request: Request) -> Response {
        headers::secure(self.answer(request).await)
    }
}
