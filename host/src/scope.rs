//! Who there is on this node.

mod ask;
pub mod bind;
pub mod cgroup;
pub mod cri;
mod discover;
mod docker;
pub mod netns;
pub mod watch;
