//! Who there is on this node.

pub mod netns;
