//! Which addresses this system posts to, of those that an endpoint may have.

use std::net::IpAddr;

use domain::webhook::{EndpointUrl, Host, Reachable, is_public};

/// What endpoints are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The hosts of this system, each as `host` (all ports) or `host:port`.
    pub own_hosts: Vec<String>,
    /// Which hosts are reached.
    pub reachable: Reachable,
}

/// The reason why nothing is sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is an address, or a name with addresses, that is not on the internet.
    #[error("the endpoint's host is not on the internet")]
    Address,
    /// It is a host of this system.
    #[error("this host is part of the system that sends the webhooks")]
    OwnHost,
}

impl Rules {
    /// Returns that hosts of the internet are reached, but for these, which commas separate.
    #[must_use]
    pub fn of_internet(own_hosts: &str) -> Self {
        Self {
            own_hosts: own_hosts.split(',').map(str::to_owned).collect(),
            reachable: Reachable::Public,
        }
    }

    /// Checks an address as far as it says where it leads; whether a name leads to the internet is
    /// seen when it is connected to.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn check(&self, url: &EndpointUrl) -> Result<(), Refused> {
        // It was made when more may have been allowed.
        EndpointUrl::parse(url.as_str(), self.reachable).map_err(|_| Refused::Address)?;
        match self.is_own(url) {
            true => Err(Refused::OwnHost),
            false => Ok(()),
        }
    }

    /// Returns whether a name may have an address that it was resolved to.
    pub(crate) fn admits(&self, name: &str, address: IpAddr) -> bool {
        is_public(address)
            || (self.reachable == Reachable::PublicAndLoopback
                && name.eq_ignore_ascii_case("localhost")
                && address.is_loopback())
    }

    /// Loopback hosts are compared by their ports: they are one machine by any name.
    fn is_own(&self, url: &EndpointUrl) -> bool {
        let host = url.host();
        self.own_hosts.iter().any(|own| {
            let (own, port) = match own.rsplit_once(':') {
                Some((own, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                    (own, port.parse::<u16>().ok())
                }
                Some(_) | None => (own.as_str(), None),
            };
            let own: Host = match own.parse::<IpAddr>() {
                Ok(address) => Host::Address(address),
                Err(_) => Host::Name(own.to_ascii_lowercase()),
            };
            let same_host = own == *host || (own.is_loopback() && host.is_loopback());
            same_host && port.is_none_or(|port| port == url.port())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(reachable: Reachable) -> Rules {
        let own = ["api.example", "live.example:443", "127.0.0.1:3000"];
        Rules {
            own_hosts: own.map(str::to_owned).to_vec(),
            reachable,
        }
    }

    fn check(rules: &Rules, url: &str) -> Result<(), Refused> {
        rules.check(&EndpointUrl::parse(url, Reachable::PublicAndLoopback).unwrap())
    }

    #[test]
    fn hosts_of_the_internet_are_reached_but_for_those_of_the_system() {
        let rules = rules(Reachable::Public);
        for (url, checked) in [
            ("https://hooks.example.com:8443/a?b=c", Ok(())),
            ("https://1.1.1.1/", Ok(())),
            ("https://[2600:1f18::1]/", Ok(())),
            ("https://live.example:4443/", Ok(())),
            ("https://localhost/", Err(Refused::Address)),
            ("http://localhost:9000/", Err(Refused::Address)),
            ("https://127.0.0.1:9000/", Err(Refused::Address)),
            ("https://[::1]/", Err(Refused::Address)),
            ("https://api.example/v1", Err(Refused::OwnHost)),
            ("https://API.example:8443/v1", Err(Refused::OwnHost)),
            ("https://live.example/", Err(Refused::OwnHost)),
        ] {
            assert_eq!(check(&rules, url), checked, "{url}");
        }
    }

    #[test]
    fn on_one_machine_loopback_is_reached_but_for_the_ports_of_the_system() {
        let rules = rules(Reachable::PublicAndLoopback);
        for (url, checked) in [
            ("http://127.0.0.1:9000/", Ok(())),
            ("http://localhost:9000/", Ok(())),
            ("https://[::1]:9000/", Ok(())),
            ("https://hooks.example.com", Ok(())),
            ("http://127.0.0.1:3000/", Err(Refused::OwnHost)),
            ("http://localhost:3000/", Err(Refused::OwnHost)),
            ("http://127.9.9.9:3000/", Err(Refused::OwnHost)),
            ("http://[::1]:3000/", Err(Refused::OwnHost)),
        ] {
            assert_eq!(check(&rules, url), checked, "{url}");
        }
        let loopback = "127.0.0.1".parse().unwrap();
        assert!(rules.admits("localhost", loopback));
        assert!(!rules.admits("hooks.example.com", loopback));
        let public = self::rules(Reachable::Public);
        assert!(!public.admits("localhost", loopback));
        assert!(public.admits("hooks.example.com", "1.1.1.1".parse().unwrap()));
    }
}
