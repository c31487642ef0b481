//! HTTP as registries need it: one agent per origin with the TLS, the proxy and the patience that are right for it; redirects
//! followed here, for what proves who we are must not go along to another host.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use ureq::config::{AutoHeaderValue, Config as HttpConfig};
use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Proxy};

use super::fault::{self, Cure, Fault};
use super::{headers, proxy, resolve};
use crate::error::Advise;
use crate::host::config::{Config, Registry};

const CONNECT: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(20);
/// One read, and the window in which a body must bring ...
const WINDOW: Duration = Duration::from_secs(10);
/// ... this much. Slower is not slow but broken, or hostile (slow loris).
const WINDOW_BYTES: u64 = 10 << 10;
const REDIRECTS: usize = 5;
const MAX_HEADERS: usize = 64 << 10;

/// Speaks to any number of hosts, each as the configuration says.
pub struct Http {
    config: Config,
    agents: Mutex<HashMap<String, Agent>>,
    roots: OnceLock<Vec<Certificate<'static>>>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    pub accept: &'a str,
    /// The value of `Authorization`, for the first host only.
    pub authorization: Option<&'a str>,
    /// The first byte that is wanted; 0 for all.
    pub from: u64,
    /// To be posted as a form.
    pub form: Option<&'a str>,
}

/// What came, from wherever the redirects led.
pub struct Answer {
    pub uri: Uri,
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Body,
}

impl Http {
    pub fn new(config: Config) -> Http {
        Http { config, agents: Mutex::default(), roots: OnceLock::new() }
    }

    /// Whether this host, by name and port, may be spoken to without knowing that it is the one.
    pub fn is_insecure(&self, authority: &str) -> bool {
        let host = authority.parse::<ureq::http::uri::Authority>();
        let local = host.is_ok_and(|authority| proxy::is_local(authority.host().trim_matches(['[', ']'])));
        self.registry(authority).and_then(|registry| registry.insecure).unwrap_or(local)
    }

    fn registry(&self, authority: &str) -> Option<&Registry> {
        let hub = if authority == super::DOCKER_HUB_HOST { self.config.registry("docker.io") } else { None };
        self.config.registry(authority).or(hub)
    }

    /// Sends a request and follows redirects. Every status is an answer.
    pub fn send(&self, uri: &Uri, request: Request) -> Result<Answer, Fault> {
        let (mut uri, mut request) = (uri.clone(), request);
        for _ in 0..=REDIRECTS {
            let host = uri.authority().map_or("", |authority| authority.as_str()).to_string();
            let cannot = |Fault { cure, error }: Fault| {
                let advice = fault::advice(&error, &host);
                Fault { cure, error: Err::<(), _>(error).hint(|| advice).unwrap_err() }.context(format!("cannot reach {host}"))
            };
            let response = self.send_once(&uri, request).map_err(cannot)?;
            let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = response.headers().get("location").filter(|_| moved) else {
                let (parts, body) = response.into_parts();
                return Ok(Answer { uri, status: parts.status, headers: parts.headers, body });
            };
            if request.form.is_some() {
                return Err(anyhow!("{host} redirects a login: refused").into());
            }
            let target = headers::redirect(&uri, location.to_str().unwrap_or("?"))?;
            if !headers::same_origin(&uri, &target) {
                request.authorization = None;
            }
            uri = target;
        }
        Err(anyhow!("more than {REDIRECTS} redirects").into())
    }

    fn send_once(&self, uri: &Uri, request: Request) -> Result<Response<Body>, Fault> {
        let agent = self.agent(uri)?;
        if let Some(form) = request.form {
            let post = agent.post(uri).header("Content-Type", "application/x-www-form-urlencoded");
            return Ok(post.send(form)?);
        }
        let mut get = agent.get(uri);
        if !request.accept.is_empty() {
            get = get.header("Accept", request.accept);
        }
        if let Some(authorization) = request.authorization {
            get = get.header("Authorization", authorization);
        }
        if request.from > 0 {
            get = get.header("Range", format!("bytes={}-", request.from));
        }
        Ok(get.call()?)
    }

    fn agent(&self, uri: &Uri) -> Result<Agent> {
        let authority = uri.authority().context("an address without a host")?;
        let origin = format!("{}://{authority}", uri.scheme_str().unwrap_or_default());
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&origin) {
            return Ok(agent.clone());
        }
        let secure = uri.scheme_str() == Some("https");
        let host = authority.host().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let variable = |name: &str| std::env::var(name).ok();
        let proxy = match proxy::of(uri.scheme_str().unwrap_or_default(), host, port, &variable) {
            Some(address) => {
                let said = format!("bad proxy {:?} in the environment", without_password(&address));
                Some(Proxy::new(&address).context(said).hint(|| "HTTPS_PROXY=http://HOST:PORT")?)
            }
            None => None,
        };
        let tls = if secure { self.tls(authority.as_str())? } else { TlsConfig::builder().build() };
        let agent = Agent::with_parts(patience(tls, proxy), DefaultConnector::new(), Names);
        agents.insert(origin, agent.clone());
        Ok(agent)
    }

    /// Certificates for one host: whom it may be, and who we are.
    fn tls(&self, authority: &str) -> Result<TlsConfig> {
        let insecure = self.is_insecure(authority);
        let registry = self.registry(authority).cloned().unwrap_or_default();
        let mut roots = if insecure { Vec::new() } else { self.roots.get_or_init(system_roots).clone() };
        if let Some(ca) = &registry.ca {
            let before = roots.len();
            roots.extend(
                items(ca)?.into_iter().filter_map(|item| if let PemItem::Certificate(c) = item { Some(c) } else { None }),
            );
            if roots.len() == before {
                bail!("there is no certificate in {}", ca.display());
            }
        }
        let client = match (&registry.client_cert, &registry.client_key) {
            (Some(certificate), Some(key)) => Some(client_certificate(certificate, key)?),
            _ => None,
        };
        Ok(TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .disable_verification(insecure && registry.ca.is_none())
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .client_cert(client)
            .build())
    }
}

fn patience(tls: TlsConfig, proxy: Option<Proxy>) -> HttpConfig {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("rl/", env!("CARGO_PKG_VERSION")))
        .accept(AutoHeaderValue::None)
        .accept_encoding(AutoHeaderValue::None)
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER))
        .timeout_per_read(Some(WINDOW))
        .timeout_per_write(Some(WINDOW))
        .max_response_header_size(MAX_HEADERS)
        .tls_config(tls)
        .proxy(proxy)
        .build()
}

/// What to show of a proxy's address.
fn without_password(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, host)| host)
}

fn system_roots() -> Vec<Certificate<'static>> {
    // Those that cannot be read are reported by what they would have signed.
    let found = rustls_native_certs::load_native_certs().certs;
    found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

fn items(file: &Path) -> Result<Vec<PemItem<'static>>> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse_pem(&text).collect::<Result<_, _>>().with_context(|| format!("bad PEM file {}", file.display()))
}

fn client_certificate(certificate: &Path, key: &Path) -> Result<ClientCert> {
    let chain: Vec<Certificate> = items(certificate)?
        .into_iter()
        .filter_map(|item| if let PemItem::Certificate(c) = item { Some(c) } else { None })
        .collect();
    if chain.is_empty() {
        bail!("there is no certificate in {}", certificate.display());
    }
    let keys = items(key)?.into_iter();
    let key: Option<PrivateKey> =
        keys.filter_map(|item| if let PemItem::PrivateKey(key) = item { Some(key) } else { None }).next();
    Ok(ClientCert::new_with_certs(&chain, key.context("there is no private key in the client_key file")?))
}

/// Our own name resolution, as the agent wants it.
#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &HttpConfig, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let found = resolve::addresses(host)
            .map_err(|error| ureq::Error::Other(anyhow!("cannot find the address of {host:?}: {error:#}").into()))?;
        let mut addresses = self.empty();
        let room = addresses.iter().count().max(8);
        for address in found.into_iter().take(room) {
            addresses.push((address, port).into());
        }
        Ok(addresses)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, of which no more than `limit` bytes are read, and which fails when it comes too slowly.
    pub fn reader(self, limit: u64) -> impl Read {
        Steady { body: self.body.into_with_config().limit(limit).reader(), since: Duration::ZERO, bytes: 0 }
    }

    /// The body whole; an error when it is longer than `limit`.
    pub fn read(self, limit: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.reader(limit + 1).take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(anyhow!("the answer is larger than {} KiB: refused", limit >> 10).into());
        }
        Ok(bytes)
    }

    /// The error that a status other than success is; `what` was asked for.
    pub fn refusal(self, what: &str) -> Fault {
        const EXCERPT: u64 = 16 << 10;
        let (status, host) = (self.status, self.uri.host().unwrap_or_default().to_string());
        let patience = self.header("retry-after").and_then(|text| headers::retry_after(text, self.header("date")));
        let cure = match status.as_u16() {
            408 | 425 | 429 | 500 | 502 | 503 | 504 => Cure::Again(patience),
            _ => Cure::None,
        };
        let said = self.read(EXCERPT).ok().and_then(|body| explanation(&body));
        let said = said.map_or(String::new(), |said| format!(": {said}"));
        let error = anyhow!("{host} answers {what} with {}{said}", status.as_u16());
        let error = match status.as_u16() {
            429 => Err::<(), _>(error).hint(|| "wait a while, or log in: a registry allows known users more").unwrap_err(),
            _ => error,
        };
        Fault { cure, error }
    }
}

/// What a registry says about an error (distribution-spec, "Error Codes"), made fit for a terminal.
fn explanation(body: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = document.get("errors")?.get(0)?;
    let text = |name: &str| first.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_string();
    let said = [text("code"), text("message")].join(" ");
    Some(said.chars().filter(|c| !c.is_control()).take(200).collect())
}

/// A body that must keep coming. Only the time spent waiting counts, not what the reader does between.
struct Steady<R> {
    body: R,
    since: Duration,
    bytes: u64,
}

impl<R: Read> Read for Steady<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = Instant::now();
        let length = self.body.read(buffer)?;
        self.since += start.elapsed();
        self.bytes += length as u64;
        if self.since >= WINDOW {
            if self.bytes < WINDOW_BYTES && length > 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the answer comes too slowly"));
            }
            (self.since, self.bytes) = (Duration::ZERO, 0);
        }
        Ok(length)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.status, self.uri)
    }
}
