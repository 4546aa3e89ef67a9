//! Who may ask: checked before anything else is looked at, so that a stranger does not even learn which routes there are.
//!
//! Over TCP a request needs the token, which no page in a browser has until an operator types it into ours; the files of
//! that page hold no data and are given to everybody. A page is kept out twice more, since a browser
//! on the operator's machine reaches the port: by its Origin, and, against DNS that points a stranger's name at it, by the
//! Host, which must be an address or `localhost`.

use std::{net::IpAddr, sync::Arc};

use http::{
    HeaderMap, Request, Uri,
    header::{HOST, ORIGIN},
    uri::Authority,
};

use super::{page, token::Token};
use crate::admin::error::{ControlError, Kind};

/// Guards one connection.
#[derive(Clone, Debug)]
pub(super) enum Guard {
    /// The socket's file has let it in.
    Unix,
    /// It came over TCP, to this address of the machine.
    Tcp(Arc<Token>, IpAddr),
}

impl Guard {
    /// Whether the request may go on.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), ControlError> {
        let (headers, uri) = (request.headers(), request.uri());
        match self {
            Self::Unix if headers.contains_key(ORIGIN) => Err(foreign_origin()),
            Self::Unix => Ok(()),
            Self::Tcp(token, address) => {
                let host = own_host(headers, uri, *address).ok_or_else(foreign_host)?;
                if !is_own_origin(headers, &host) {
                    return Err(foreign_origin());
                }
                let may = page::is_of_page(request.method(), uri.path()) || token.is_in(headers);
                if may { Ok(()) } else { Err(no_token()) }
            }
        }
    }
}

/// The one host that the request is for, if it is this machine by address or as `localhost`.
fn own_host(headers: &HeaderMap, uri: &Uri, address: IpAddr) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    let host: Authority = host.to_str().ok()?.parse().ok()?;
    // A request in absolute form names it twice (RFC 9112, 3.2.2).
    let same = uri.authority().is_none_or(|named| *named == host);
    (same && is_own(&host, address)).then_some(host)
}

fn is_own(host: &Authority, address: IpAddr) -> bool {
    let name = host.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let by_address = |named: IpAddr| named.is_loopback() || named.to_canonical() == address.to_canonical();
    // Nothing stands before an `@` in a Host.
    !host.as_str().contains('@')
        && (name.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(by_address))
}

/// No page, or one that this very server gave out.
fn is_own_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let own = format!("http://{host}");
    headers.get_all(ORIGIN).iter().all(|origin| origin.as_bytes() == own.as_bytes())
}

fn no_token() -> ControlError {
    let advice =
        "send `Authorization: Bearer TOKEN` with what is in the file admin-token of the data directory";
    ControlError::new(Kind::Unauthorized, "the request has no valid token", advice)
}

fn foreign_host() -> ControlError {
    let advice = "use localhost, or the address that listen.admin names";
    ControlError::new(Kind::Forbidden, "the request's Host is not this agent", advice)
}

fn foreign_origin() -> ControlError {
    let advice = "call the API from a program, not from a page of another origin";
    ControlError::new(Kind::Forbidden, "the request comes from a page of another origin", advice)
}
