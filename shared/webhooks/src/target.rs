//! Which URLs an endpoint may have, as far as a URL says it.

use std::net::IpAddr;

use domain::webhook::{URL_BYTES_MAX, is_public};
use url::{Host, Url};

/// What endpoints are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The hosts of this system, each as `host` (all ports) or `host:port`.
    pub own_hosts: Vec<String>,
    /// Whether loopback addresses are allowed, and http for them: receivers on the same machine.
    pub loopback: bool,
}

/// The reason why a URL is no endpoint's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The text is no absolute URL, or is too long.
    #[error("this is no absolute URL of at most {URL_BYTES_MAX} bytes")]
    NotAUrl,
    /// It is not https.
    #[error("an endpoint has an https URL")]
    Scheme,
    /// It has a user or a password.
    #[error("the URL of an endpoint has no user and no password")]
    Credentials,
    /// It has a fragment, which is never sent.
    #[error("the URL of an endpoint has no fragment (#)")]
    Fragment,
    /// It is an address, or a name with addresses, outside of the public Internet.
    #[error(
        "an endpoint has a public address: not a private, loopback, link-local or reserved one"
    )]
    Address,
    /// It is a host of this system.
    #[error("this host is part of the system that sends the webhooks")]
    OwnHost,
}

impl Rules {
    /// Returns a URL that may be an endpoint's. Whether its name has a public address is seen when
    /// it is connected to.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn check(&self, text: &str) -> Result<Url, Refused> {
        if text.len() > URL_BYTES_MAX {
            return Err(Refused::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_| Refused::NotAUrl)?;
        let is_https = match url.scheme() {
            "https" => true,
            "http" if self.loopback => false,
            _ => return Err(Refused::Scheme),
        };
        let host = url.host().ok_or(Refused::NotAUrl)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        if url.fragment().is_some() {
            return Err(Refused::Fragment);
        }
        let is_loopback = match host {
            Host::Domain(name) => is_localhost(name),
            Host::Ipv4(address) => is_loopback(address.into()),
            Host::Ipv6(address) => is_loopback(address.into()),
        };
        if self.is_own(&url, is_loopback) {
            return Err(Refused::OwnHost);
        }
        if is_loopback && self.loopback {
            return Ok(url);
        }
        let is_public = match host {
            Host::Domain(_) => !is_loopback,
            Host::Ipv4(address) => is_public(address.into()),
            Host::Ipv6(address) => is_public(address.into()),
        };
        match (is_public, is_https) {
            (false, _) => Err(Refused::Address),
            (true, false) => Err(Refused::Scheme),
            (true, true) => Ok(url),
        }
    }

    /// Returns whether a name may have an address that it was resolved to.
    pub(crate) fn admits(&self, name: &str, address: IpAddr) -> bool {
        is_public(address) || (self.loopback && is_localhost(name) && is_loopback(address))
    }

    /// Loopback hosts are compared by their ports: they are one machine by any name.
    fn is_own(&self, url: &Url, is_loopback: bool) -> bool {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let port = url.port_or_known_default().unwrap_or_default();
        self.own_hosts.iter().any(|own| {
            let (own, own_port) = match own.rsplit_once(':') {
                Some((own, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                    (own, port.parse::<u16>().ok())
                }
                Some(_) | None => (own.as_str(), None),
            };
            let own_is_loopback = match own.parse() {
                Ok(address) => self::is_loopback(address),
                Err(_) => is_localhost(own),
            };
            let same_host = own.eq_ignore_ascii_case(host) || (is_loopback && own_is_loopback);
            same_host && own_port.is_none_or(|own_port| own_port == port)
        })
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || {
        let end = name.len().checked_sub(".localhost".len());
        let end = end.and_then(|from| name.get(from..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(".localhost"))
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.is_loopback(),
            None => address.is_loopback(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<String> {
        ["api.example", "live.example:443", "127.0.0.1:3000"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn urls_of_the_public_internet_are_admitted_and_no_others() {
        let rules = Rules {
            own_hosts: own(),
            loopback: false,
        };
        for url in [
            "https://hooks.example.com",
            "https://hooks.example.com:8443/a?b=c",
            "https://1.1.1.1/",
            "https://[2600:1f18::1]/",
            "https://live.example:444/",
        ] {
            assert!(rules.check(url).is_ok(), "{url}");
        }
        for (url, refused) in [
            ("", Refused::NotAUrl),
            ("/a", Refused::NotAUrl),
            ("https://", Refused::NotAUrl),
            ("https://a b/", Refused::NotAUrl),
            ("http://hooks.example.com", Refused::Scheme),
            ("ftp://hooks.example.com", Refused::Scheme),
            ("file:///etc/passwd", Refused::Scheme),
            ("https://a@hooks.example.com", Refused::Credentials),
            ("https://:b@hooks.example.com", Refused::Credentials),
            ("https://hooks.example.com/#a", Refused::Fragment),
            ("https://169.254.169.254/latest", Refused::Address),
            ("https://2852039166/", Refused::Address),
            ("https://0xa9fea9fe/", Refused::Address),
            ("https://0251.0376.0251.0376/", Refused::Address),
            ("https://127.1/", Refused::Address),
            ("https://127.0.0.1./", Refused::Address),
            ("https://①②⑦.0.0.1/", Refused::Address),
            ("https://localhost/", Refused::Address),
            ("https://LOCALHOST./", Refused::Address),
            ("https://a.localhost/", Refused::Address),
            ("https://[::1]/", Refused::Address),
            ("https://[::ffff:7f00:1]/", Refused::Address),
            ("https://[::ffff:169.254.169.254]/", Refused::Address),
            ("https://[fe80::1]/", Refused::Address),
            ("https://api.example/v1", Refused::OwnHost),
            ("https://API.example.:8443/v1", Refused::OwnHost),
            ("https://live.example/", Refused::OwnHost),
        ] {
            assert_eq!(rules.check(url).unwrap_err(), refused, "{url}");
        }
        let long = format!("https://hooks.example.com/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(rules.check(&long).unwrap_err(), Refused::NotAUrl);
    }

    #[test]
    fn on_one_machine_loopback_is_admitted_but_for_the_systems_own_ports() {
        let rules = Rules {
            own_hosts: own(),
            loopback: true,
        };
        for url in [
            "http://127.0.0.1:9000/",
            "http://localhost:9000/",
            "https://[::1]:9000/",
            "https://hooks.example.com",
        ] {
            assert!(rules.check(url).is_ok(), "{url}");
        }
        for (url, refused) in [
            ("http://hooks.example.com/", Refused::Scheme),
            ("http://10.0.0.1/", Refused::Address),
            ("https://169.254.169.254/", Refused::Address),
            ("http://127.0.0.1:3000/", Refused::OwnHost),
            ("http://localhost:3000/", Refused::OwnHost),
            ("http://127.9.9.9:3000/", Refused::OwnHost),
            ("http://[::1]:3000/", Refused::OwnHost),
        ] {
            assert_eq!(rules.check(url).unwrap_err(), refused, "{url}");
        }
        let loopback = "127.0.0.1".parse().unwrap();
        assert!(rules.admits("localhost", loopback));
        assert!(!rules.admits("hooks.example.com", loopback));
        assert!(!Rules::default().admits("localhost", loopback));
        assert!(rules.admits("hooks.example.com", "1.1.1.1".parse().unwrap()));
    }
}
