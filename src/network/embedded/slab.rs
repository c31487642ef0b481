//! Things by number: an index that is used again and a generation that is not, so that an event for what is gone finds nothing.

/// Names one entry of a [`Slab`]: index below, generation above; 56 bits in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

const INDEX_BITS: u32 = 24;
const GENERATIONS: u32 = u32::MAX;

impl Key {
    /// The number, for epoll; it leaves the highest 8 bits free.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The key that has this number.
    pub fn from_number(number: u64) -> Key {
        Key(number & ((1 << 56) - 1))
    }

    fn new(index: usize, generation: u32) -> Key {
        Key(index as u64 | u64::from(generation) << INDEX_BITS)
    }

    fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> INDEX_BITS) as u32 & GENERATIONS
    }
}

/// See the module.
pub struct Slab<T> {
    entries: Vec<(u32, Option<T>)>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub fn new() -> Slab<T> {
        Slab { entries: Vec::new(), free: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The keys of all there are.
    pub fn keys(&self) -> Vec<Key> {
        let used = self.entries.iter().enumerate().filter(|(_, (_, value))| value.is_some());
        used.map(|(index, (generation, _))| Key::new(index, *generation)).collect()
    }

    /// All there are.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let key = |(index, (generation, _)): (usize, &(u32, Option<T>))| Key::new(index, *generation);
        self.entries.iter().enumerate().filter_map(move |entry| Some((key(entry), entry.1.1.as_ref()?)))
    }

    /// Puts `value` where one has gone, or at the end.
    pub fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push((0, None));
            self.entries.len() - 1
        });
        let (generation, place) = &mut self.entries[index];
        *place = Some(value);
        Key::new(index, *generation)
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        self.entries.get(key.index()).filter(|(generation, _)| *generation == key.generation())?.1.as_ref()
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries.get_mut(key.index()).filter(|(generation, _)| *generation == key.generation())?.1.as_mut()
    }

    /// Takes it out; its key names nothing any more.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let (generation, place) = self.entries.get_mut(key.index()).filter(|(g, _)| *g == key.generation())?;
        let value = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(key.index());
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_what_is_gone_finds_nothing() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!((slab.remove(a), slab.len()), (Some("a"), 1));
        let c = slab.insert("c");
        assert_eq!((slab.get(a), slab.get(b), slab.get(c)), (None, Some(&"b"), Some(&"c")));
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.keys(), [c, b]);
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(c, &"c"), (b, &"b")]);
        assert_eq!(slab.get(Key::from_number(c.number() | 0xff << 56)), Some(&"c"));
    }
}
