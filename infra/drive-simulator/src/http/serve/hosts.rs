//! The names under which a server of this machine may be called.

use std::{collections::BTreeSet, net::IpAddr};

use ::http::{HeaderMap, Request, Uri, header, uri::Authority};

/// The names under which a server may be called: `localhost`, any IP address, and the names that
/// are added.
///
/// A page can point a name of its own at this machine (DNS rebinding), and its browser then takes
/// the server for the page's own. Such a request states that name as its host; it cannot state an
/// address, or a name that its author does not own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    names: BTreeSet<String>,
}

impl Hosts {
    /// Returns the hosts with further names, without ports.
    pub fn with_names(names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| name.to_ascii_lowercase());
        Self {
            names: names.collect(),
        }
    }

    /// Returns whether a request is addressed to one of these: by its only `Host`, and by its URL
    /// if that is absolute.
    pub fn admit<B>(&self, request: &Request<B>) -> bool {
        self.admit_parts(request.uri(), request.headers())
    }

    fn admit_parts(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut stated = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (stated.next(), stated.next()) else {
            return false;
        };
        let host = host.to_str().ok().and_then(|host| host.parse().ok());
        let of_url = uri.authority();
        host.is_some_and(|host| self.has(&host)) && of_url.is_none_or(|host| self.has(host))
    }

    fn has(&self, authority: &Authority) -> bool {
        // With a user in front, the host is another than the text begins with.
        if authority.as_str().contains('@') {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']'));
        let is_address = bare.unwrap_or(&host).parse::<IpAddr>().is_ok();
        is_address || host == "localhost" || self.names.contains(&host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(hosts: &Hosts, url: &str, stated: &[&str]) -> bool {
        let request = stated.iter().fold(Request::get(url), |request, host| {
            request.header(header::HOST, *host)
        });
        hosts.admit(&request.body(()).expect("a request"))
    }

    #[test]
    fn only_addresses_localhost_and_added_names_are_admitted() {
        let hosts = Hosts::default();
        for host in [
            "127.0.0.1:3001",
            "localhost",
            "LocalHost:80",
            "[::1]:3001",
            "10.0.0.7",
        ] {
            assert!(admits(&hosts, "/", &[host]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:3001",
            "localhost.evil.example",
            "127.0.0.1.evil.example:3001",
            "x.localhost",
            "localhost.",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "",
            ":3001",
            "a b",
        ] {
            assert!(!admits(&hosts, "/", &[host]), "{host}");
        }
        let hosts = Hosts::with_names(["Host.Docker.Internal".to_owned()]);
        assert!(admits(&hosts, "/", &["host.docker.internal:3001"]));
        assert!(!admits(&hosts, "/", &["docker.internal"]));
    }

    #[test]
    fn a_host_is_stated_once_and_an_absolute_url_has_to_agree() {
        let hosts = Hosts::default();
        assert!(!admits(&hosts, "/", &[]));
        assert!(!admits(&hosts, "/", &["localhost", "evil.example"]));
        assert!(!admits(&hosts, "/", &["localhost", "localhost"]));
        assert!(admits(&hosts, "http://localhost/", &["127.0.0.1"]));
        assert!(!admits(&hosts, "http://evil.example/", &["127.0.0.1"]));
        assert!(!admits(&hosts, "http://127.0.0.1/", &["evil.example"]));
    }
}
