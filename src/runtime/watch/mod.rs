//! Files under watch: which directories tell of a change, and their events.
//!
//! Directories are watched, not files: editors rename, Kubernetes replaces links. An event only says when to look; some
//! mounts tell nothing, so whoever watches also looks from time to time.

mod events;
mod places;

pub use events::Directories;
pub use places::directories;
