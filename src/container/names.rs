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

/// A name from a container's id: `swift_otter_3f2a`. The digits make a clash as unlikely as one of the names alone is likely.
pub fn from_id(id: &[u8; 32]) -> String {
    let adjective = ADJECTIVES[usize::from(id[0]) % ADJECTIVES.len()];
    let animal = ANIMALS[usize::from(id[1]) % ANIMALS.len()];
    format!("{adjective}_{animal}_{:02x}{:02x}", id[2], id[3])
}
