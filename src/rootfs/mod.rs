//! The container's file system: planned as a list of steps (pure), then applied one by one by descriptor.

pub mod apply;
pub mod dev;
pub mod fill;
pub mod host_view;
pub mod inroot;
pub mod mountinfo;
pub mod plan;
