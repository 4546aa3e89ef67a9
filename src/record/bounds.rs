//! What every record keeps to, whoever made it: a producer or a transform.

/// Bytes of an object id, inclusive.
pub const OBJECT_ID_BYTES_MAX: usize = 512;

/// Bytes of an index's name at most.
pub const INDEX_BYTES_MAX: usize = 256;

/// Objects and lists within each other, the record itself included.
pub const DEPTH_MAX: usize = 64;
