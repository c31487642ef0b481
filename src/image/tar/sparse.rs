//! Files with holes: which pieces of a body go where (GNU tar manual, "Storing Sparse Files").

use anyhow::{Result, bail};

use super::header;
use crate::image::limits;

/// `length` bytes of the body stand at `offset` of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub offset: u64,
    pub length: u64,
}

/// The pieces in order, checked as they come: ascending, apart, inside the file.
#[derive(Debug, Default)]
pub struct Map {
    pieces: Vec<Piece>,
    end: u64,
    data: u64,
}

impl Map {
    pub fn push(&mut self, offset: u64, length: u64) -> Result<()> {
        if self.pieces.len() == limits::SPARSE_PIECES {
            bail!("a sparse file of more than {} pieces is refused", limits::SPARSE_PIECES);
        }
        let Some(end) = offset.checked_add(length).filter(|_| offset >= self.end) else {
            bail!("malformed sparse file: pieces overlap")
        };
        self.pieces.push(Piece { offset, length });
        self.end = end;
        // No overflow: the pieces lie apart below `end`.
        self.data += length;
        Ok(())
    }

    /// Adds the pieces of an old GNU header or of a block that follows it: twelve bytes each for offset and length.
    pub fn push_old(&mut self, fields: &[u8]) -> Result<()> {
        for piece in fields.chunks_exact(24) {
            if piece[0] == 0 || piece[12] == 0 {
                break;
            }
            match (u64::try_from(header::number(&piece[..12])?), u64::try_from(header::number(&piece[12..])?)) {
                (Ok(offset), Ok(length)) => self.push(offset, length)?,
                _ => bail!("malformed sparse file: a negative number"),
            }
        }
        Ok(())
    }

    /// Adds the pairs of formats 0.0 and 0.1.
    pub fn push_pairs(&mut self, numbers: &[u64]) -> Result<()> {
        if !numbers.len().is_multiple_of(2) {
            bail!("malformed sparse file: an offset without a length");
        }
        numbers.chunks_exact(2).try_for_each(|pair| self.push(pair[0], pair[1]))
    }

    /// The pieces, when they fit a file of `size` bytes and together are the `stored` bytes of the body.
    pub fn finish(self, size: u64, stored: u64) -> Result<Vec<Piece>> {
        if self.end > size || self.data != stored {
            bail!("malformed sparse file: its pieces are not its size");
        }
        Ok(self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_in_order_apart_and_inside() {
        let map = |pairs: &[u64]| {
            let mut map = Map::default();
            map.push_pairs(pairs).map(|()| map)
        };
        assert_eq!(map(&[0, 2, 5, 1, 9, 0]).unwrap().finish(9, 3).unwrap().len(), 3);
        assert!(map(&[0, 2, 1, 1]).is_err());
        assert!(map(&[5, 1, 0, 1]).is_err());
        assert!(map(&[1]).is_err());
        assert!(map(&[u64::MAX, 2]).is_err());
        assert!(map(&[0, 2]).unwrap().finish(1, 2).is_err());
        assert!(map(&[0, 2]).unwrap().finish(9, 3).is_err());
    }

    #[test]
    fn a_giant_map_is_refused() {
        let mut map = Map::default();
        let error = (0..u64::MAX).find_map(|n| map.push(2 * n, 1).err()).unwrap();
        assert!(error.to_string().contains("pieces"));
    }
}
