//! The user namespace U, one per user and id map: planned from the subordinate ids, made or joined, and short work inside.

pub mod idmap;
pub mod mapper;
pub mod plan;
pub mod shared;
pub mod sharing;
pub mod spawn;
pub mod subid;
