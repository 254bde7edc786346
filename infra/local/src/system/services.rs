//! The services on sockets, for other processes, and what those need to reach them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use drive_simulator::Hosts;
use sqs_fifo::REGION;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::default_port;
use crate::aws::signature::ACCESS_KEY;
use crate::aws::{self, Aws, Service};
use crate::{canary, sources};

/// What a function's environment says of this system.
pub(super) struct Addresses<'a> {
    pub(super) api: Option<SocketAddr>,
    pub(super) services: &'a BTreeMap<&'static str, String>,
    pub(super) drive_url: &'a str,
}

impl Addresses<'_> {
    /// Returns the texts of `events/env.json` that stand for addresses, and the addresses.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let mut texts =
            BTreeMap::from([(canary::container_address(3001), self.drive_url.to_owned())]);
        for service in Service::ALL {
            let Some(url) = self.services.get(name(service)) else {
                continue;
            };
            let port = default_port(service);
            texts.insert(canary::container_address(port), url.clone());
            texts.insert(format!("http://127.0.0.1:{port}"), url.clone());
        }
        if let Some(api) = self.api {
            texts.insert(canary::container_address(3000), format!("http://{api}"));
            texts.insert("127.0.0.1:3000".to_owned(), api.to_string());
        }
        texts
    }
}

/// Returns the variables with the keys of the services.
pub(super) fn keys(aws: &Aws) -> BTreeMap<String, String> {
    [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", aws.keys().expose_secret_key()),
        ("AWS_DEFAULT_REGION", REGION),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Returns the name of a service, as its client has it.
fn name(service: Service) -> &'static str {
    match service {
        Service::Dynamodb => "dynamodb",
        Service::Sqs => "sqs",
        Service::S3 => "s3",
        Service::Secrets => "secretsmanager",
        Service::Sockets => "apigatewaymanagementapi",
    }
}

/// How the services listen.
pub(super) struct Sockets {
    pub(super) default_ports: bool,
    pub(super) serve_aws: Option<IpAddr>,
    pub(super) hosts: Hosts,
}

/// Returns the hosts of the system, which no webhook endpoint may be.
pub(super) fn own_hosts(
    api: Option<SocketAddr>,
    services: &BTreeMap<&'static str, String>,
    drive_url: &str,
) -> Vec<String> {
    let urls = services.values().map(String::as_str).chain([drive_url]);
    let hosts = urls.filter_map(|url| url.split("://").nth(1));
    let hosts = hosts.filter_map(|rest| rest.split('/').next());
    let api = api.map(|address| address.to_string());
    hosts.map(str::to_owned).chain(api).collect()
}

/// Serves the services for other processes and returns their URLs.
pub(super) async fn serve_services(
    aws: &Aws,
    sockets: &Sockets,
    tasks: &mut JoinSet<()>,
    stop: &sources::Shutdown,
) -> std::io::Result<BTreeMap<&'static str, String>> {
    let mut urls = BTreeMap::new();
    let default_ports = sockets.default_ports;
    let address = sockets.serve_aws.unwrap_or(Ipv4Addr::LOCALHOST.into());
    for service in Service::ALL {
        if service != Service::S3 && sockets.serve_aws.is_none() {
            continue;
        }
        let usual = if default_ports {
            default_port(service)
        } else {
            0
        };
        let listener = match TcpListener::bind((address, usual)).await {
            Err(_) if default_ports => TcpListener::bind((address, 0)).await?,
            bound => bound?,
        };
        let name = name(service);
        urls.insert(name, format!("http://{}", listener.local_addr()?));
        let (router, hosts) = (aws.served(service), sockets.hosts.clone());
        let mut stop = stop.clone();
        tasks.spawn(async move {
            let stopped = async move { sources::stopped(&mut stop).await };
            if let Err(error) = aws::serve::serve(listener, router, hosts, stopped).await {
                tracing::error!(%error, service = name, "a service stopped listening");
            }
        });
    }
    Ok(urls)
}
