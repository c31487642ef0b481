//! From a 401 to an `Authorization` header (distribution's token specification, "Docker Registry v2 authentication via central
//! service"; RFC 7617 for basic).

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use ureq::http::Uri;

use super::base64;
use super::credentials::{self, Credentials};
use super::fault::Fault;
use super::headers::{self, Challenge};
use super::http::{Answer, Http, Request};
use crate::error::Advise;

const MAX_ANSWER: u64 = 1 << 20;

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// Does what the answer, a 401, asks for. `registry` is the name that credentials are kept under.
pub fn authorize(http: &Http, answer: &Answer, registry: &str, repository: &str) -> Result<String, Fault> {
    let mut known = Vec::new();
    for header in answer.headers.get_all("www-authenticate") {
        known.extend(headers::challenges(header.to_str().context("bad WWW-Authenticate header")?)?);
    }
    let who = credentials::find(registry, repository).with_context(|| format!("cannot find out who you are at {registry}"))?;
    if let Some(bearer) = known.iter().find(|challenge| challenge.scheme == "bearer") {
        return fetch(http, answer, bearer, repository, who.as_ref()).map_err(|fault| fault.context("cannot get a token".into()));
    }
    if !known.iter().any(|challenge| challenge.scheme == "basic") {
        let schemes: Vec<&str> = known.iter().map(|challenge| challenge.scheme.as_str()).collect();
        return Err(anyhow!("{registry} wants to know who we are in a way that is not known here ({})", schemes.join(" ")).into());
    }
    match who {
        Some(Credentials::Password { user, password }) => Ok(basic(&user, &password)),
        _ => Err(login_needed(registry).into()),
    }
}

fn login_needed(registry: &str) -> anyhow::Error {
    Err::<(), _>(anyhow!("{registry} needs a login"))
        .hint(|| format!("skopeo login {registry}   (or docker login, podman login: what they keep is read)"))
        .unwrap_err()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::encode(format!("{user}:{password}").as_bytes()))
}

/// Asks the token server that the challenge names.
fn fetch(
    http: &Http,
    answer: &Answer,
    challenge: &Challenge,
    repository: &str,
    who: Option<&Credentials>,
) -> Result<String, Fault> {
    let realm = realm(&answer.uri, challenge)?;
    let service = challenge.parameter("service").unwrap_or_default();
    let pull = format!("repository:{repository}:pull");
    let scope = challenge.parameter("scope").unwrap_or(&pull);
    let mut query = format!("service={}&scope={}", encoded(service), encoded(scope));
    let reply = match who {
        Some(Credentials::IdentityToken(token)) => {
            query = format!("grant_type=refresh_token&client_id=rl&{query}&refresh_token={}", encoded(token));
            http.send(&realm, Request { form: Some(&query), ..Request::default() })?
        }
        other => {
            let login = match other {
                Some(Credentials::Password { user, password }) => Some(basic(user, password)),
                _ => None,
            };
            let joint = if realm.query().is_some() { '&' } else { '?' };
            let uri = format!("{realm}{joint}{query}").parse::<Uri>().context("bad realm")?;
            http.send(&uri, Request { authorization: login.as_deref(), ..Request::default() })?
        }
    };
    match reply.status.as_u16() {
        200..=299 => {}
        401 | 403 if who.is_some() => {
            let host = reply.uri.host().unwrap_or_default().to_string();
            let error = Err::<(), _>(anyhow!("{host} does not accept the saved login"))
                .hint(|| "log in again with skopeo, docker or podman");
            return Err(error.unwrap_err().into());
        }
        _ => return Err(reply.refusal("for a token")),
    }
    let token: Token = serde_json::from_slice(&reply.read(MAX_ANSWER)?).context("bad answer of the token server")?;
    let token = if token.token.is_empty() { token.access_token } else { token.token };
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(anyhow!("bad answer of the token server: no token").into());
    }
    Ok(format!("Bearer {token}"))
}

/// Where the tokens are: said by the registry, so no less safe a way than to the registry itself.
fn realm(registry: &Uri, challenge: &Challenge) -> Result<Uri> {
    let realm = challenge.parameter("realm").context("a bearer challenge without a realm")?;
    if !realm.starts_with("https://") && !realm.starts_with("http://") {
        bail!("a bearer challenge whose realm is no address: {realm:?}");
    }
    headers::redirect(registry, realm)
}

/// Percent-encoded for a query (RFC 3986, 2.3).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_no_less_safe_than_the_registry() {
        let challenge = |realm: &str| headers::challenges(&format!("Bearer realm=\"{realm}\"")).unwrap().remove(0);
        let of = |registry: &str, name: &str| realm(&registry.parse().unwrap(), &challenge(name));
        assert!(of("https://reg.example/", "https://auth.example/token").is_ok());
        assert!(of("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token").is_ok());
        assert!(of("https://reg.example/", "http://auth.example/token").is_err());
        assert!(of("https://reg.example/", "/token").is_err());
        assert!(of("https://reg.example/", "file:///etc/passwd").is_err());
    }

    #[test]
    fn what_goes_into_a_query_is_encoded() {
        assert_eq!(encoded("repository:a/b:pull&x=é"), "repository%3Aa%2Fb%3Apull%26x%3D%C3%A9");
        assert_eq!(basic("ann", "pw"), "Basic YW5uOnB3");
    }
}
