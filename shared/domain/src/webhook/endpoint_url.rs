//! The address that an endpoint's deliveries are sent to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

use super::public_address::is_public;

/// The longest address, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// The port of https.
const HTTPS_PORT: u16 = 443;
/// The first port that any program may listen on.
const UNPRIVILEGED_PORT_MIN: u16 = 1_024;
/// The last labels of names that are not resolved publicly.
const PRIVATE_NAMES: [&str; 6] = ["localhost", "local", "internal", "lan", "home", "arpa"];

/// Which hosts deliveries may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachable {
    /// Those of the internet, by https.
    Public,
    /// This machine as well, also by http: for a system that runs on one machine.
    PublicAndLoopback,
}

/// An address: `https`, a host, no credentials and no fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointUrl {
    text: String,
    host: Host,
    port: u16,
}

/// The host of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An IP address.
    Address(IpAddr),
}

/// A text is no address that deliveries may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUrl {
    /// It is longer than [`URL_BYTES_MAX`].
    TooLong,
    /// It has characters that no address has.
    Characters,
    /// It does not begin with `https://`.
    Scheme,
    /// It has a user or a password.
    Credentials,
    /// It has a fragment.
    Fragment,
    /// Its host is neither a name nor an IP address.
    Host,
    /// Its host is not on the internet.
    NotPublic,
    /// Its port is not a number from 1 to 65535, or one that other protocols use.
    Port,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "is longer than 2048 bytes",
            Self::Characters => {
                "has characters that no URL has: percent-encode them, and write a host in ASCII"
            }
            Self::Scheme => "does not begin with https://",
            Self::Credentials => "has credentials: deliveries are signed, leave them out",
            Self::Fragment => "has a fragment (#...): no server sees it, leave it out",
            Self::Host => "has no host: a name such as hooks.example.com, or an IP address",
            Self::NotPublic => "has a host that is not on the internet",
            Self::Port => "has a port that is neither 443 nor 1024 to 65535",
        })
    }
}

impl std::error::Error for InvalidUrl {}

impl EndpointUrl {
    /// Parses an address. A name may still lead to a host that deliveries must not go to: that is
    /// seen when it is resolved.
    ///
    /// # Errors
    /// [`InvalidUrl`]
    pub fn parse(text: &str, reachable: Reachable) -> Result<Self, InvalidUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(InvalidUrl::TooLong);
        }
        let allowed = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
        if !text.bytes().all(allowed) {
            return Err(InvalidUrl::Characters);
        }
        let loopback = reachable == Reachable::PublicAndLoopback;
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) if loopback => (false, rest),
            (None, _) => return Err(InvalidUrl::Scheme),
        };
        if rest.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(InvalidUrl::Credentials);
        }
        let (host, port) = split(authority)?;
        let host = Host::parse(host)?;
        if !secure && !host.is_loopback() {
            return Err(InvalidUrl::Scheme);
        }
        let reached = host.may_be_public() || (loopback && host.is_loopback());
        if !reached {
            return Err(InvalidUrl::NotPublic);
        }
        let port = match port {
            None if secure => HTTPS_PORT,
            None => 80,
            Some(digits) => port_of(digits)?,
        };
        let path = if path.is_empty() { "/" } else { path };
        let scheme = if secure { "https" } else { "http" };
        let shown = match port {
            HTTPS_PORT if secure => String::new(),
            port => format!(":{port}"),
        };
        Ok(Self {
            text: format!("{scheme}://{host}{shown}{path}"),
            host,
            port,
        })
    }

    /// Returns the address as text, its host in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits an authority into its host and the digits of its port.
fn split(authority: &str) -> Result<(&str, Option<&str>), InvalidUrl> {
    let after_host = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|at| at + 2).ok_or(InvalidUrl::Host)?,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(after_host);
    match rest.strip_prefix(':') {
        Some(digits) => Ok((host, Some(digits))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(InvalidUrl::Host),
    }
}

fn port_of(digits: &str) -> Result<u16, InvalidUrl> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let port = digits.parse().ok().filter(|_| plain);
    port.filter(|port| *port == HTTPS_PORT || *port >= UNPRIVILEGED_PORT_MIN)
        .ok_or(InvalidUrl::Port)
}

impl Host {
    fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if let Some(address) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let address = address.parse::<Ipv6Addr>();
            return address
                .map(|address| Self::Address(IpAddr::V6(address)))
                .map_err(|_| InvalidUrl::Host);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = text.to_ascii_lowercase();
        let label = |label: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(allowed)
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        // `127.1`, `2130706433` and `0x7f000001` are IP addresses to some resolvers.
        let numeric = last.starts_with(|c: char| c.is_ascii_digit());
        if numeric || name.len() > 253 || !name.split('.').all(label) {
            return Err(InvalidUrl::Host);
        }
        Ok(Self::Name(name))
    }

    fn may_be_public(&self) -> bool {
        match self {
            Self::Name(name) => {
                let last = name.rsplit('.').next().unwrap_or_default();
                name.contains('.') && !PRIVATE_NAMES.contains(&last)
            }
            Self::Address(address) => is_public(*address),
        }
    }

    /// Returns whether it is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Address(address) => address.is_loopback(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_to_a_public_host() {
        for (text, kept, port) in [
            ("https://a.example.com", "https://a.example.com/", 443),
            (
                "https://A.Example.com:443/x",
                "https://a.example.com/x",
                443,
            ),
            ("https://a.b:8443/x?y=1", "https://a.b:8443/x?y=1", 8443),
            ("https://a.b?y", "https://a.b?y", 443),
            ("https://93.184.215.14/", "https://93.184.215.14/", 443),
            (
                "https://[2606:2800::1]:4430/",
                "https://[2606:2800::1]:4430/",
                4430,
            ),
            (
                "https://xn--bcher-kva.example/",
                "https://xn--bcher-kva.example/",
                443,
            ),
        ] {
            let url = EndpointUrl::parse(text, Reachable::Public).unwrap();
            assert_eq!((url.as_str(), url.port()), (kept, port), "{text}");
            assert_eq!(EndpointUrl::parse(kept, Reachable::Public), Ok(url));
        }
    }

    #[test]
    fn every_other_address_is_refused_with_its_reason() {
        let long = format!("https://a.b/{}", "x".repeat(URL_BYTES_MAX));
        for (text, why) in [
            ("", InvalidUrl::Scheme),
            ("http://a.example.com/", InvalidUrl::Scheme),
            ("HTTPS://a.example.com/", InvalidUrl::Scheme),
            ("ftp://a.example.com/", InvalidUrl::Scheme),
            ("file:///etc/passwd", InvalidUrl::Scheme),
            ("//a.example.com/", InvalidUrl::Scheme),
            ("https://", InvalidUrl::Host),
            ("https:///x", InvalidUrl::Host),
            ("https://u@a.example.com/", InvalidUrl::Credentials),
            ("https://u:p@a.example.com/", InvalidUrl::Credentials),
            ("https://a.example.com@127.0.0.1/", InvalidUrl::Credentials),
            ("https://a.example.com/#x", InvalidUrl::Fragment),
            ("https://a.example.com#@127.0.0.1/", InvalidUrl::Fragment),
            ("https://a.example.com:22/", InvalidUrl::Port),
            ("https://a.example.com:0/", InvalidUrl::Port),
            ("https://a.example.com:/", InvalidUrl::Port),
            ("https://a.example.com:+443/", InvalidUrl::Port),
            ("https://a.example.com:00443/", InvalidUrl::Port),
            ("https://a.example.com:65536/", InvalidUrl::Port),
            ("https://a b/", InvalidUrl::Characters),
            ("https://a.example.com/\n", InvalidUrl::Characters),
            ("https://a.example.com\\@b.c/", InvalidUrl::Characters),
            ("https://bücher.example/", InvalidUrl::Characters),
            ("https://a..b/", InvalidUrl::Host),
            ("https://a.example.com./", InvalidUrl::Host),
            ("https://a%2eb.c/", InvalidUrl::Host),
            ("https://127.1/", InvalidUrl::Host),
            ("https://2130706433/", InvalidUrl::Host),
            ("https://0x7f000001/", InvalidUrl::Host),
            ("https://0177.0.0.1/", InvalidUrl::Host),
            ("https://[::1/", InvalidUrl::Host),
            ("https://[::1]x/", InvalidUrl::Host),
            ("https://[fe80::1%25eth0]/", InvalidUrl::Host),
            ("https://intranet/", InvalidUrl::NotPublic),
            ("https://localhost/", InvalidUrl::NotPublic),
            ("https://LOCALHOST/", InvalidUrl::NotPublic),
            ("https://x.localhost/", InvalidUrl::NotPublic),
            ("https://metadata.google.internal/", InvalidUrl::NotPublic),
            ("https://127.0.0.1/", InvalidUrl::NotPublic),
            ("https://169.254.169.254/latest", InvalidUrl::NotPublic),
            ("https://10.0.0.1:8443/", InvalidUrl::NotPublic),
            ("https://[::1]/", InvalidUrl::NotPublic),
            ("https://[::ffff:127.0.0.1]/", InvalidUrl::NotPublic),
            (long.as_str(), InvalidUrl::TooLong),
        ] {
            assert_eq!(
                EndpointUrl::parse(text, Reachable::Public),
                Err(why),
                "{text}"
            );
            assert!(!why.to_string().is_empty());
        }
    }

    #[test]
    fn this_machine_is_reached_only_where_that_is_allowed() {
        let local = Reachable::PublicAndLoopback;
        for text in [
            "http://127.0.0.1:8080/hook",
            "http://localhost:8080/",
            "https://[::1]:8443/",
            "https://a.example.com/",
        ] {
            assert_eq!(EndpointUrl::parse(text, local).unwrap().as_str(), text);
        }
        for (text, why) in [
            ("http://a.example.com/", InvalidUrl::Scheme),
            ("http://10.0.0.1:8080/", InvalidUrl::Scheme),
            ("https://169.254.169.254/", InvalidUrl::NotPublic),
        ] {
            assert_eq!(EndpointUrl::parse(text, local), Err(why), "{text}");
        }
    }
}
