//! Which proxy the environment names for an address: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case, read as Docker (Go's
//! net/http) and curl read them.

use std::net::IpAddr;

/// The proxy for `scheme://host:port/`, None for a direct connection. The host has no brackets.
pub fn of(scheme: &str, host: &str, port: u16, environment: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let variable = |upper: &str| {
        let value = environment(upper).filter(|value| !value.is_empty());
        value
            .or_else(|| environment(&upper.to_lowercase()))
            .map(|value| value.trim().to_string())
            .filter(|value| !value.is_empty())
    };
    let proxy = match scheme {
        "https" => variable("HTTPS_PROXY")?,
        // A web server that runs programs puts a client's `Proxy:` header there (httpoxy).
        _ if environment("REQUEST_METHOD").is_some() => return None,
        _ => variable("HTTP_PROXY")?,
    };
    let exempt = variable("NO_PROXY").unwrap_or_default();
    let direct = is_local(host) || exempt.split(',').any(|entry| matches(entry.trim(), host, port));
    (!direct).then_some(proxy)
}

/// A proxy cannot know what we call local.
pub fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `*`, an address, a network, a domain (and what is below it) or, with a dot in front, only what is below.
fn matches(entry: &str, host: &str, port: u16) -> bool {
    if entry.is_empty() || entry == "*" {
        return entry == "*";
    }
    if let (Some((network, length)), Ok(address)) = (entry.split_once('/'), host.parse::<IpAddr>()) {
        return network.parse().is_ok_and(|network| length.parse().is_ok_and(|length| within(address, network, length)));
    }
    if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return host.parse() == Ok(address);
    }
    let (name, wanted_port): (&str, Option<u16>) = match entry.rsplit_once(':') {
        Some((name, number)) if number.parse::<u16>().is_ok() => (name.trim_matches(['[', ']']), number.parse().ok()),
        _ => (entry, None),
    };
    if wanted_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let (name, host) = (name.trim_start_matches('*').to_ascii_lowercase(), host.to_ascii_lowercase());
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(&name),
        None => host == name || host.strip_suffix(&name).is_some_and(|below| below.ends_with('.')),
    }
}

fn within(address: IpAddr, network: IpAddr, length: u32) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((a, size), (b, other)) = (bits(address), bits(network));
    size == other && length <= size && (length == 0 || (a ^ b) >> (128 - length) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(scheme: &str, host: &str, environment: &[(&str, &str)]) -> Option<String> {
        let look = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        of(scheme, host, 443, &look)
    }

    #[test]
    fn the_scheme_chooses_the_variable() {
        let both = [("HTTP_PROXY", "http://p:1"), ("https_proxy", "http://s:2")];
        assert_eq!(chosen("http", "a.example", &both).unwrap(), "http://p:1");
        assert_eq!(chosen("https", "a.example", &both).unwrap(), "http://s:2");
        assert_eq!(chosen("https", "a.example", &[("HTTPS_PROXY", "")]), None);
        assert_eq!(chosen("http", "a.example", &[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")]), None);
        for local in ["localhost", "127.0.0.2", "::1"] {
            assert_eq!(chosen("http", local, &both), None);
        }
    }

    #[test]
    fn no_proxy_exempts_names_and_networks() {
        for (exempt, host, direct) in [
            ("*", "a.example", true),
            ("example", "a.example", true),
            (".example", "a.example", true),
            ("*.example", "a.example", true),
            ("a.example", "A.EXAMPLE", true),
            (".a.example", "a.example", false),
            ("ple", "a.example", false),
            ("b.example, a.example:443", "a.example", true),
            ("a.example:80", "a.example", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("fd00::/8", "fd12::1", true),
            ("0.0.0.0/0", "fd12::1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.0.0.0/99", "10.1.2.3", false),
        ] {
            let environment = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", exempt)];
            assert_eq!(chosen("https", host, &environment).is_none(), direct, "{exempt} {host}");
        }
    }
}
