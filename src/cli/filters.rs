//! `--filter KEY=VALUE`: values of one key are alternatives, keys must all be met; labels must all be met too (Docker's rule).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::error::Advise;

/// The filters of one command.
#[derive(Debug, Default)]
pub struct Filters {
    given: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Reads them; a key that is not among `known` is refused.
    pub fn read(given: &[String], known: &[&str]) -> Result<Filters> {
        let mut filters = Filters::default();
        for filter in given {
            let (key, value) = filter.split_once('=').with_context(|| format!("bad filter \"{filter}\": want KEY=VALUE"))?;
            let key = key.trim().to_ascii_lowercase();
            if !known.contains(&key.as_str()) {
                return Err(anyhow::anyhow!("unknown filter \"{key}\"")).hint(|| format!("one of {}", known.join(", ")));
            }
            filters.given.entry(key).or_default().push(value.trim().into());
        }
        Ok(filters)
    }

    /// The values given for a key.
    pub fn values(&self, key: &str) -> &[String] {
        self.given.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether one of the key's values fits, or none was given.
    pub fn any(&self, key: &str, fits: impl FnMut(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().map(String::as_str).any(fits)
    }

    /// Whether all `label=KEY[=VALUE]` are met, and no `label!=` is.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(has) && !self.values("label!").iter().any(has)
    }

    /// Refuses values that are not among these words.
    pub fn check(&self, key: &str, words: &[&str]) -> Result<()> {
        match self.values(key).iter().find(|value| !words.contains(&value.as_str())) {
            Some(value) => bail!("bad filter {key}={value}: want one of {}", words.join(", ")),
            None => Ok(()),
        }
    }
}

/// A name as `--filter name=` finds it: a part of it, or with ^ and $ its beginning and end.
pub fn name_fits(wanted: &str, name: &str) -> bool {
    let (wanted, start) = wanted.strip_prefix('^').map_or((wanted, false), |rest| (rest, true));
    let (wanted, end) = wanted.strip_suffix('$').map_or((wanted, false), |rest| (rest, true));
    // Docker's names begin with a slash, and people write it.
    let wanted = wanted.strip_prefix('/').unwrap_or(wanted);
    match (start, end) {
        (true, true) => name == wanted,
        (true, false) => name.starts_with(wanted),
        (false, true) => name.ends_with(wanted),
        (false, false) => name.contains(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(given: &[&str]) -> Result<Filters> {
        Filters::read(&given.iter().map(|f| f.to_string()).collect::<Vec<_>>(), &["label", "label!", "name"])
    }

    #[test]
    fn values_are_alternatives_and_labels_are_not() {
        let labels = BTreeMap::from([("a".to_string(), "1".to_string()), ("b".into(), "".into())]);
        for (given, fits) in [
            (&["label=a"][..], true),
            (&["label=a=1", "label=b"], true),
            (&["label=a=2"], false),
            (&["label=a", "label=c"], false),
            (&["label!=c"], true),
            (&["label!=a=1"], false),
            (&[], true),
        ] {
            assert_eq!(filters(given).unwrap().labels(&labels), fits, "{given:?}");
        }
        let names = filters(&["name=x", "name=we"]).unwrap();
        assert!(names.any("name", |wanted| name_fits(wanted, "web")) && !names.any("name", |wanted| wanted == "web"));
    }

    #[test]
    fn names_fit_in_part_or_as_a_whole() {
        for (wanted, fits) in
            [("we", true), ("^web$", true), ("/web", true), ("^eb", false), ("eb$", true), ("we$", false), ("^/web$", true)]
        {
            assert_eq!(name_fits(wanted, "web"), fits, "{wanted}");
        }
    }

    #[test]
    fn what_is_unknown_is_refused() {
        assert!(filters(&["nope=1"]).unwrap_err().to_string().contains("unknown filter \"nope\""));
        assert!(filters(&["name"]).unwrap_err().to_string().contains("want KEY=VALUE"));
        assert!(filters(&["name=x"]).unwrap().check("name", &["a", "b"]).unwrap_err().to_string().contains("want one of a, b"));
    }
}
