//! The client half of a registry (OCI distribution-spec v1.1; Docker Registry HTTP API V2): manifests and blobs by reference.
//!
//! ```text
//! mod.rs       a reference → its endpoints, mirrors first → documents and blobs      fault.rs    what to try again
//! token.rs     a challenge → an Authorization header                                 credentials.rs   who the user is
//! http.rs      one request, its redirects and its patience                           headers.rs  what answers say
//! resolve.rs   a host → its addresses, dns.rs                                        proxy.rs    the way there
//! ```
//!
//! Blocking, for use by several threads. Nothing here touches the store.

mod base64;
mod credentials;
mod dns;
mod fault;
mod headers;
mod http;
mod proxy;
mod resolve;
mod token;

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use ureq::http::Uri;

use self::fault::{Cure, retrying};
use self::http::{Answer, Http, Request};
use super::Reference;
use crate::error::Advise;
use crate::host::config::Config;
use crate::oci::digest::Digest;
use crate::oci::image::{Descriptor, MAX_DOCUMENT};

pub use self::fault::Fault;

/// Where docker.io answers.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// One place that has a repository: a mirror, or the registry itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    /// As the configuration and the files with credentials call it.
    registry: String,
    /// Host and port.
    authority: String,
    /// The only scheme to use, where one is prescribed.
    scheme: Option<&'static str>,
}

/// The places to ask, in order.
fn endpoints(registry: &str, config: &Config) -> Result<Vec<Endpoint>> {
    let mirrors = config.registry(registry).and_then(|registry| registry.mirrors.as_deref()).unwrap_or_default();
    let mut places = mirrors.iter().map(|mirror| endpoint_of_mirror(mirror)).collect::<Result<Vec<_>>>()?;
    let authority = if registry == "docker.io" { DOCKER_HUB_HOST } else { registry };
    places.push(Endpoint { registry: registry.into(), authority: authority.into(), scheme: None });
    Ok(places)
}

fn endpoint_of_mirror(mirror: &str) -> Result<Endpoint> {
    let (scheme, host) = match mirror.split_once("://") {
        Some(("https", host)) => (Some("https"), host),
        Some(("http", host)) => (Some("http"), host),
        Some(_) => bail!("mirror {mirror:?} in config.toml: only https:// and http:// are known"),
        None => (None, mirror),
    };
    let host = host.trim_end_matches('/');
    let is_host =
        host.parse::<ureq::http::uri::Authority>().is_ok_and(|authority| authority.as_str() == host && !host.contains('@'));
    if !is_host || host.is_empty() {
        return Err(anyhow!("mirror {mirror:?} in config.toml is not a host")).hint(|| "mirrors = [\"HOST:PORT\"]");
    }
    Ok(Endpoint { registry: host.into(), authority: host.into(), scheme })
}

/// A repository of one registry, found where it answered first.
pub struct Repository {
    http: Http,
    base: Uri,
    endpoint: Endpoint,
    name: String,
    authorization: Mutex<Option<String>>,
    wait: fn(Duration, &Error),
}

/// Where a blob goes.
pub trait Sink {
    /// How much of it is there: what comes next begins with this byte.
    fn length(&self) -> u64;
    /// Forgets what is there.
    fn restart(&mut self) -> Result<()>;
    /// Takes all that comes. A fault decides whether it is asked for again, from wherever [`Sink::length`] then is.
    fn take(&mut self, body: &mut dyn Read) -> Result<(), Fault>;
}

/// A manifest or index as it came.
pub struct Fetched {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

impl Repository {
    /// Finds the first endpoint that has what `reference` names, and that document. `wait` sits out delays between tries.
    pub fn open(reference: &Reference, config: Config, wait: fn(Duration, &Error)) -> Result<(Repository, Fetched)> {
        let places = endpoints(reference.registry(), &config)?;
        let last = places.len() - 1;
        let mut passed_over = Vec::new();
        for (number, place) in places.into_iter().enumerate() {
            let host = place.authority.clone();
            match Repository::at(place, reference, config.clone(), wait) {
                Ok(found) => return Ok(found),
                Err(fault) if number < last => {
                    passed_over.push(format!("mirror {host}: {}", crate::error::Failure::from(&fault.error)))
                }
                Err(fault) if passed_over.is_empty() => return Err(fault.error),
                Err(fault) => return Err(fault.error.context(passed_over.join("; "))),
            }
        }
        unreachable!("the registry itself is the last endpoint")
    }

    fn at(
        endpoint: Endpoint,
        reference: &Reference,
        config: Config,
        wait: fn(Duration, &Error),
    ) -> Result<(Repository, Fetched), Fault> {
        let http = Http::new(config);
        let base = base(&http, &endpoint)?;
        let name = reference.repository().to_string();
        let repository = Repository { http, base, endpoint, name, authorization: Mutex::default(), wait };
        let fetched = repository.manifest(reference)?;
        Ok((repository, fetched))
    }

    /// The document that a reference names, verified where it has a digest.
    fn manifest(&self, reference: &Reference) -> Result<Fetched, Fault> {
        match reference.digest() {
            Some(digest) => self.document(&digest.to_string(), Some(digest)),
            None => self.document(reference.tag().unwrap_or("latest"), None),
        }
    }

    /// A manifest that an index names.
    pub fn manifest_by_digest(&self, digest: &Digest) -> Result<Fetched> {
        self.document(&digest.to_string(), Some(digest)).map_err(|fault| fault.error)
    }

    fn document(&self, name: &str, wanted: Option<&Digest>) -> Result<Fetched, Fault> {
        let accept = MANIFEST_TYPES.join(", ");
        let path = format!("manifests/{name}");
        retrying(
            || {
                let answer = self.get(&path, Request { accept: &accept, ..Request::default() })?;
                if !answer.status.is_success() {
                    return Err(self.refused(answer, name));
                }
                let told = answer.header("docker-content-digest").and_then(|text| text.trim().parse::<Digest>().ok());
                let content_type = answer.header("content-type").unwrap_or_default();
                let media_type = content_type.split(';').next().unwrap_or_default().trim().to_string();
                let bytes = answer.read(MAX_DOCUMENT)?;
                for digest in [wanted, told.as_ref()].into_iter().flatten() {
                    if !digest.matches(&bytes) {
                        return Err(anyhow!(
                            "{} sends a manifest whose digest is {}, not {digest}",
                            self.endpoint.authority,
                            Digest::of(&bytes)
                        )
                        .into());
                    }
                }
                let digest = wanted.or(told.as_ref()).cloned().unwrap_or_else(|| Digest::of(&bytes));
                // Anything else (text/plain) says nothing: the document itself does.
                let media_type = if MANIFEST_TYPES.contains(&media_type.as_str()) { media_type } else { String::new() };
                let size = bytes.len() as u64;
                let descriptor = Descriptor { media_type, digest, size, platform: None, annotations: Default::default() };
                Ok(Fetched { descriptor, bytes })
            },
            self.wait,
        )
    }

    /// Pours a blob of `size` bytes into `sink`, going on where it was interrupted as often as that is of use.
    pub fn blob(&self, digest: &Digest, size: u64, sink: &mut impl Sink) -> Result<()> {
        let path = format!("blobs/{digest}");
        let attempt = || {
            let from = sink.length();
            let answer = self.get(&path, Request { from, ..Request::default() })?;
            let first = match answer.status.as_u16() {
                200 => 0,
                206 => match answer.header("content-range").and_then(headers::content_range) {
                    Some((first, _)) if first == from => from,
                    _ => {
                        return Err(
                            anyhow!("{} sends another part of {digest} than was asked for", self.endpoint.authority).into()
                        );
                    }
                },
                // What we have is longer than what there is: it is wrong, and taken anew.
                416 if from > 0 => {
                    sink.restart()?;
                    return Err(Fault::again(anyhow!("{digest} has another length")));
                }
                _ => return Err(self.refused(answer, &digest.to_string())),
            };
            if first == 0 && from > 0 {
                sink.restart()?;
            }
            // One byte more tells that it is too long.
            sink.take(&mut answer.reader(size + 1))
        };
        retrying(attempt, self.wait).map_err(|fault| fault.error)
    }

    fn get(&self, path: &str, request: Request) -> Result<Answer, Fault> {
        let uri = format!("{}v2/{}/{path}", self.base, self.name).parse::<Uri>().context("bad address")?;
        let known = self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let answer = self.http.send(&uri, Request { authorization: known.as_deref(), ..request })?;
        // Another host's 401, after a redirect, is not about who we are here.
        if answer.status != 401 || !headers::same_origin(&uri, &answer.uri) {
            return Ok(answer);
        }
        let mut current = self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *current == known {
            *current = Some(token::authorize(&self.http, &answer, &self.endpoint.registry, &self.name)?);
        }
        let fresh = current.clone();
        drop(current);
        self.http.send(&uri, Request { authorization: fresh.as_deref(), ..request })
    }

    /// The error that an answer is which brings nothing.
    fn refused(&self, answer: Answer, name: &str) -> Fault {
        let (registry, status) = (&self.endpoint.registry, answer.status.as_u16());
        let what = if name.starts_with("sha256:") { name.to_string() } else { format!("{}:{name}", self.name) };
        match status {
            404 => anyhow!("{registry} has no {what}").into(),
            401 | 403 => Err::<(), _>(anyhow!("{registry} denies access to {}: it does not exist or needs a login", self.name))
                .hint(|| format!("skopeo login {registry}   (or docker login, podman login: what they keep is read)"))
                .unwrap_err()
                .into(),
            _ => answer.refusal(&format!("for {what}")),
        }
    }
}

/// The address of an endpoint. One that may be insecure is asked which scheme it speaks, the safe one first, as Docker does.
fn base(http: &Http, endpoint: &Endpoint) -> Result<Uri, Fault> {
    let uri = |scheme: &str| {
        format!("{scheme}://{}/", endpoint.authority)
            .parse::<Uri>()
            .with_context(|| format!("bad registry {}", endpoint.authority))
    };
    if let Some(scheme) = endpoint.scheme {
        return Ok(uri(scheme)?);
    }
    let secure = uri("https")?;
    if !http.is_insecure(&endpoint.authority) {
        return Ok(secure);
    }
    let ping = format!("{secure}v2/").parse::<Uri>().context("bad address")?;
    match http.send(&ping, Request::default()) {
        Ok(_) => Ok(secure),
        Err(Fault { cure: Cure::None, error }) => Err(error.into()),
        Err(_) => Ok(uri("http")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_before_the_registry_itself() {
        let config: Config =
            toml::from_str("[registries.\"docker.io\"]\nmirrors = [\"127.0.0.1:5000\", \"https://mirror.example/\"]\n").unwrap();
        let places = endpoints("docker.io", &config).unwrap();
        let shown: Vec<_> = places.iter().map(|place| (place.authority.as_str(), place.scheme)).collect();
        assert_eq!(shown, [("127.0.0.1:5000", None), ("mirror.example", Some("https")), (DOCKER_HUB_HOST, None)]);
        assert_eq!(places[2].registry, "docker.io");
        assert_eq!(endpoints("ghcr.io", &config).unwrap().len(), 1);
        for mirror in ["", "ftp://x", "a/b", "https://x/y", "user@host", "a b"] {
            assert!(endpoint_of_mirror(mirror).is_err(), "{mirror}");
        }
    }
}
