//! What slirp4netns answers on its socket (slirp4netns(1), "API SOCKET"). Pure.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Longest answer in bytes.
pub const LONGEST: u64 = 64 << 10;

/// One answer: an error of its own is one.
pub fn answer(bytes: &[u8]) -> Result<Value> {
    let answer: Value = serde_json::from_slice(bytes).context("cannot understand slirp4netns")?;
    match &answer["error"] {
        Value::Null => Ok(answer),
        error => bail!("slirp4netns: {}", error["desc"].as_str().unwrap_or("it fails without a reason")),
    }
}

/// Its number for a port of the host's, of what answers `list_hostfwd`.
pub fn id_of(listed: &Value, protocol: &str, address: &str, port: u16) -> Option<u64> {
    let is_it = |entry: &&Value| entry["proto"] == protocol && entry["host_addr"] == address && entry["host_port"] == port;
    listed["return"]["entries"].as_array()?.iter().find(is_it)?["id"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_port_is_found_by_what_is_said_of_it() {
        let entry = r#"{"id":7,"proto":"tcp","host_addr":"0.0.0.0","host_port":8080,"guest_port":80}"#;
        let listed = answer(format!(r#"{{"return":{{"entries":[{{}},{entry}]}}}}"#).as_bytes()).unwrap();
        assert_eq!(id_of(&listed, "tcp", "0.0.0.0", 8080), Some(7));
        assert_eq!(id_of(&listed, "udp", "0.0.0.0", 8080), None);
        let told = |text: &str| format!("{:#}", answer(text.as_bytes()).unwrap_err());
        assert!(told(r#"{"error":{"desc":"bad request"}}"#).contains("bad request"));
        assert!(told(r#"{"error":1}"#).contains("without a reason") && told("{").contains("cannot understand"));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_answered(bytes in prop::collection::vec(any::<u8>(), 0..80), text in r#"[{}\[\]",:a-z0-9]{0,60}"#) {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = answer(bytes).map(|answer| id_of(&answer, "tcp", "::", 1));
            }
        }
    }
}
