//! Pleasant random names: an adjective and an animal.

const ADJECTIVES: [&str; 32] = [
    "amber", "brave", "bright", "calm", "clever", "cosy", "curious", "eager", "fair", "gentle", "glad", "golden", "happy",
    "honest", "jolly", "keen", "kind", "lively", "lucky", "merry", "nimble", "patient", "polite", "proud", "quick", "quiet",
    "ready", "silver", "steady", "sunny", "swift", "warm",
];

const ANIMALS: [&str; 32] = [
    "badger", "beaver", "bison", "crane", "deer", "dolphin", "falcon", "ferret", "finch", "gecko", "hare", "hedgehog", "heron",
    "ibis", "kestrel", "lark", "lynx", "marten", "mole", "newt", "otter", "owl", "panda", "puffin", "raven", "robin", "seal",
    "stoat", "swan", "tern", "vole", "wren",
];

/// A name from a container's id (hex): `swift_otter_3f2a9c`. The digits are the id's first, by which it is found again.
pub fn from_id(id: &str) -> String {
    let byte = |at: usize| id.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).map_or(0, usize::from);
    let adjective = ADJECTIVES[byte(60) % ADJECTIVES.len()];
    let animal = ANIMALS[byte(62) % ANIMALS.len()];
    format!("{adjective}_{animal}_{}", &id[..DIGITS.min(id.len())])
}

/// The beginning of the id that a random name belongs to; None for any other name.
pub fn id_prefix(name: &str) -> Option<&str> {
    let (words, digits) = name.rsplit_once('_')?;
    let (adjective, animal) = words.split_once('_')?;
    let random = ADJECTIVES.contains(&adjective) && ANIMALS.contains(&animal) && digits.len() == DIGITS;
    (random && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

const DIGITS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_name_tells_where_its_id_begins_and_no_other_name_does() {
        let name = from_id(&"3f2a9c".repeat(11)[..64]);
        assert_eq!(id_prefix(&name), Some("3f2a9c"));
        for other in ["web", "swift_otter", "swift_otter_3f2", "big_otter_3f2a9c", "swift_otter_3f2a9z"] {
            assert_eq!(id_prefix(other), None, "{other}");
        }
    }
}
